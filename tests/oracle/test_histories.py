"""Does a recorded history refuse what no order explains, and say which calls it was?"""

from __future__ import annotations

from random import Random

import pytest
from kernels import BASE

from sim.designs import Rules
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import LazyFlush, Madvise, Mmap, Operation, SynchronousFlush, Touch
from sim.verify import SCENARIOS, Budget
from sim.verify.histories import LONGEST, PAGES, Recorded, check_history, draw_short
from sim.verify.variants import offered

SHORT = SCENARIOS["short histories"]


def recorded() -> Recorded:
    """One page, mapped, with version 1 in it, at rest."""
    past = Recorded(Rules())
    past.end(past.begin(Mmap(1, BASE)), sure=True)
    past.accessed(BASE, past.now(), write=True, version=1)
    past.rests(BASE, 3, 1)
    return past


def test_is_a_cpu_that_goes_back_to_an_old_page_refused() -> None:
    """The set of what may be read allows both, in whichever order."""
    past = recorded()
    events = past.begin(Madvise(BASE, 1))
    past.accessed(BASE, past.now(), write=False, version=0, cpu=1)
    past.accessed(BASE, past.now(), write=False, version=1, cpu=1)
    past.end(events, sure=True)
    with pytest.raises(AssertionError, match=r"no order of the calls on page 0x100000 explains.*madvise"):
        past.rests(BASE, 3, 0)


def test_may_another_cpu_see_the_old_page_later() -> None:
    past = recorded()
    events = past.begin(Madvise(BASE, 1))
    past.accessed(BASE, past.now(), write=False, version=0, cpu=1)
    past.accessed(BASE, past.now(), write=False, version=1, cpu=2)
    past.end(events, sure=True)
    past.rests(BASE, 3, 0)
    assert past.states > 0


@pytest.mark.parametrize("kind", ["linux", "rw", "adv", "asterinas-0.18"])
def test_are_histories_short_and_of_what_the_design_offers(kind: str) -> None:
    for seed in range(20):
        program = draw_short(Random(seed).choice, kind)
        *_, threads = program.rounds
        asked: list[Operation] = [each for operations in threads for each in operations]
        assert 2 <= len(threads) <= 3
        assert len(asked) <= LONGEST
        assert {type(each) for each in asked} <= offered(kind)
        assert all(set(each.pages) <= set(PAGES) for each in asked if isinstance(each, Touch))


@pytest.mark.parametrize("kind", ["linux", "rw", "adv"])
def test_are_short_histories_of_a_right_kernel_explained(kind: str) -> None:
    outcome = SHORT.run(kind, Budget(60, 5), 3)
    assert (outcome.executions, outcome.violations) == (5, [])
    assert outcome.states > 5


@pytest.mark.ci
@pytest.mark.parametrize("kind", ["linux", "adv"])
def test_is_a_kernel_that_flushes_nobody_else_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def only_here(self: SynchronousFlush, cpu: Cpu, pages: list[int], **how: bool) -> Steps[None]:
        cpu.tlb.invalidate(pages)
        return
        yield

    monkeypatch.setattr(SynchronousFlush, "flush", only_here)
    monkeypatch.setattr(LazyFlush, "flush", only_here)
    (found,) = SHORT.run(kind, Budget(60, 60), 0).violations
    assert not found.check.startswith("a crash")
    with pytest.raises(Exception, match=r".+") as again:
        check_history(found.program)
    assert str(again.value) == found.found
