"""exmap on Linux: pages that a program allocates and frees itself, and a drive that is read into them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from sim.check import Checks, Violation
from sim.designs import DesignSpec
from sim.designs.linux.exmap.pool import POINTERS
from sim.engine import Probe, Steps
from sim.hardware import Cpu
from sim.mm import (
    USER,
    DirectRead,
    Errno,
    ExmapAlloc,
    ExmapFree,
    ExmapRead,
    ExmapSetup,
    Madvise,
    Mmap,
    MmapExmap,
    Munmap,
    SegmentationFault,
    Touch,
)
from sim.verify.kernels import BASE, design
from sim.verify.mutants import MUTANTS
from tests.kernels import Process

US = 1_000_000
BUNDLE = POINTERS + 1
"""Pages of a full one: the first has the pointers to the others."""
LATENCY = 80 * US
DRIVE = {
    **dict.fromkeys(("submit", "complete", "call", "pin"), "10 cycles"),
    "read_latency": "80 us",
    "write_latency": "20 us",
    "read_bandwidth": "4 GB/s",
    "write_bandwidth": "2 GB/s",
}
EARLY, LATE = "before-flush", "after-flush"


def exmap(give: str = EARLY, *, drive: bool = True) -> DesignSpec:
    costs = dict.fromkeys(("call", "proxy", "part", "page"), "10 cycles")
    changes: dict[str, Any] = {"exmap": {"give": give, "costs": costs}}
    return design("linux", changes | ({"drive": DRIVE} if drive else {}))


class Exmaps(Process):
    """A process with an exmap of so many *frames* for two interfaces, mapped at BASE."""

    def __init__(
        self, frames: int = 3 * BUNDLE, pages: int = 4000, *, spec: DesignSpec | None = None, **more: Any
    ) -> None:
        super().__init__("linux", spec=spec or exmap(), **more)
        assert self.ask(ExmapSetup(frames, 2), MmapExmap(pages, BASE)) == [None, BASE]

    def ask(self, *operations: Any, cpu: int = 0) -> list[Any]:
        """What the kernel answers to each."""
        answers: list[Any] = []
        self.run({cpu: partial(self.steps, operations, answers)})
        return answers

    def steps(self, operations: tuple[Any, ...], answers: list[Any], cpu: Cpu) -> Steps[None]:
        for each in operations:
            answer = yield from self.space.perform(cpu, each)
            answers.append(answer)


def words(*pages: int) -> tuple[range, ...]:
    return tuple(range(BASE + page, BASE + page + 1) for page in pages)


def test_does_a_page_come_by_alloc_only_and_go_by_free() -> None:
    process = Exmaps()
    with pytest.raises(SegmentationFault, match="of an exmap"):
        process.ask(Touch([BASE]))
    process = Exmaps()
    assert process.ask(ExmapAlloc(0, words(0, 1)), Touch([BASE, BASE + 1])) == [2, None]
    assert process.ask(ExmapAlloc(1, words(1, 2)), ExmapAlloc(1, words(1), "pread")) == [1, 0]
    assert process.ask(ExmapFree(0, words(0, 1, 5))) == [2]
    assert [process.is_present(BASE + page) for page in range(3)] == [False, False, True]


def test_what_is_refused() -> None:
    process = Process("linux", spec=exmap())
    answers: list[Any] = []
    asked = (
        *(ExmapAlloc(0, words(0)), ExmapSetup(4, 257), ExmapSetup(1 << 40, 1), ExmapSetup(4, 1)),
        *(ExmapSetup(4, 1), MmapExmap(40, BASE), MmapExmap(40), ExmapAlloc(1, words(0))),
        *(
            ExmapAlloc(0, words(*range(513))),
            ExmapRead(0, words(0, 1)),
            ExmapAlloc(0, (range(BASE + 39, BASE + 41),)),
        ),
        *(Munmap(BASE, 1), ExmapAlloc(0, words(3)), Munmap(BASE, 40), ExmapFree(0, words(3))),
    )
    process.run({0: partial(Exmaps.steps, process, asked, answers)})
    einval, ebusy = Errno.EINVAL, Errno.EBUSY
    assert answers == [
        *(Errno.EBADF, einval, Errno.ENOMEM, None, ebusy, BASE, ebusy, einval),
        *(einval, einval, 0, None, Errno.EPROTO, None, Errno.EBADF),
    ]


@pytest.mark.parametrize("give", [EARLY, LATE])
@pytest.mark.parametrize("pages", [0, 1, 20])
def test_is_a_free_call_one_broadcast_whatever_it_frees(give: str, pages: int) -> None:
    process = Exmaps(spec=exmap(give), cpus=4)
    here = words(*range(20))
    process.ask(ExmapAlloc(0, here[:pages]), *[Touch([part.start]) for part in here[:pages]])
    tally = process.machine.tally
    assert (tally.flushes, tally.calls) == (0, 0), "ALLOC flushes nothing"
    process.run({0: partial(process.steps, (ExmapFree(0, here),), [])} | dict.fromkeys((1, 2, 3), _busy))
    assert (tally.flushes, tally.calls) == (1, 3)
    assert not any(process.translators(part.start) for part in here)


def test_is_madvise_one_broadcast_a_call_with_present_pages() -> None:
    process = Process("linux", cpus=4, spec=exmap())
    process.do(("mmap", 20, BASE), *[("touch", BASE + page) for page in range(12)])
    tally = process.machine.tally
    calls = [("madvise", BASE + page, 1) for page in range(20)]

    def advise(cpu: Cpu) -> Steps[None]:
        for _, at, pages in calls:
            yield from process.space.perform(cpu, Madvise(at, pages))

    process.run({0: advise} | dict.fromkeys((1, 2, 3), _busy))
    assert (tally.flushes, tally.calls) == (12, 36)


def _busy(cpu: Cpu) -> Steps[None]:
    cpu.work(200 * US, USER)
    yield cpu.take_pending()


class Held(Probe):
    """The locks that are taken."""

    def __init__(self) -> None:
        self.taken: set[tuple[str, str]] = set()

    def lock_acquired(self, lock: Any, cpu: Any, mode: Any) -> None:
        self.taken.add((lock.name, mode))


def test_which_locks_are_taken() -> None:
    """One page of ALLOC: the mutex alone; several: the table's lock, too. FREE reads mmap_lock."""
    held = Held()
    process = Exmaps(listeners=[held])
    process.ask(ExmapAlloc(0, words(9)))  # makes the tables

    def taken(operation: Any) -> set[tuple[str, str]]:
        held.taken.clear()
        process.ask(operation)
        return {(name if "PTL" not in name else "PTL", mode) for name, mode in held.taken}

    mutex = ("exmap interface 0", "write")
    assert taken(ExmapAlloc(0, words(0))) == {mutex}
    assert taken(ExmapAlloc(0, (range(BASE + 1, BASE + 4),))) == {mutex, ("PTL", "write")}
    assert taken(ExmapFree(0, words(0))) == {mutex, ("mmap_lock", "read")}


def test_do_full_bundles_pass_between_interfaces() -> None:
    """A page more than a bundle holds comes back through the list, and the rest stays where it is."""
    process = Exmaps(2 * BUNDLE)
    part = (range(BASE, BASE + BUNDLE),)
    assert process.ask(ExmapAlloc(0, part), ExmapFree(0, part)) == [BUNDLE] * 2
    assert process.ask(ExmapAlloc(1, part), cpu=1) == [BUNDLE]
    rest = (range(BASE + 1000, BASE + 2000),)
    assert process.ask(ExmapAlloc(0, rest)) == [BUNDLE]
    assert process.ask(ExmapAlloc(1, rest), cpu=1) == [0], "nothing is left"
    assert process.ask(ExmapFree(0, rest)) == [BUNDLE]


def _churn(process: Exmaps, interface: int, rounds: int, cpu: Cpu) -> Steps[None]:
    """Allocate and free a bundle and a bit, so that bundles go to and fro."""
    mine = (range(BASE + 700 * interface, BASE + 700 * interface + POINTERS + 9),)
    for _ in range(rounds):
        yield from process.space.perform(cpu, ExmapAlloc(interface, mine))
        yield from process.space.perform(cpu, Touch(mine[0][:2]))
        yield from process.space.perform(cpu, ExmapFree(interface, mine))


def _churned(give: str, seed: int, rounds: int = 3) -> None:
    checks = Checks()
    process = Exmaps(3 * BUNDLE, spec=exmap(give), ties="shuffle", seed=seed, listeners=checks.listeners)
    bodies: dict[int, Callable[[Cpu], Steps[None]]] = {
        each: partial(_churn, process, each, rounds) for each in (0, 1)
    }
    process.run(bodies)


@pytest.mark.ci
@pytest.mark.parametrize("give", [EARLY, LATE])
def test_do_threads_at_once_never_have_the_same_page(give: str) -> None:
    """With `before-flush` a page may be another interface's while TLBs still show it: that is this design's
    own matter, and what the checks let pass."""
    _churned(give, seed=1)


@pytest.mark.parametrize(
    ("give", "name", "rule"),
    [
        (LATE, "linux-exmap-gives-before-the-flush", "no frame is freed while a TLB translates to it"),
        (LATE, "linux-exmap-frees-without-a-flush", "no frame is freed while a TLB translates to it"),
        (EARLY, "linux-exmap-frees-without-a-flush", "no translation is staler than an operation that has"),
    ],
)
def test_is_a_page_that_goes_too_early_seen(give: str, name: str, rule: str) -> None:
    """What `before-flush` may do nobody else may, and it may not go without."""
    calls = ExmapAlloc(0, words(0, 1)), Touch([BASE, BASE + 1]), ExmapFree(0, words(0, 1))
    Exmaps(spec=exmap(give), listeners=Checks().listeners).ask(*calls)
    with MUTANTS[name].applied(), pytest.raises(Violation, match=rule):
        Exmaps(spec=exmap(give), listeners=Checks().listeners).ask(*calls)


def test_does_a_read_wait_for_the_drive_and_keep_the_mutex() -> None:
    process = Exmaps()
    began = process.machine.engine.now
    assert process.ask(ExmapRead(0, words(3)), ExmapRead(0, words(3))) == [1, 0]
    assert process.machine.engine.now - began >= LATENCY
    assert process.ask(Touch([BASE + 3])) == [None]
    assert process.machine.tally.sleeps == 1, "a page that is there is not read"


def test_is_there_nothing_to_read_without_a_drive() -> None:
    process = Exmaps(spec=exmap(drive=False))
    assert process.ask(ExmapRead(0, words(3))) == [Errno.EINVAL]


def test_does_a_direct_read_bring_its_page_in() -> None:
    process = Process("linux", spec=exmap())
    answers: list[Any] = []
    asked = (Mmap(4, BASE), DirectRead(BASE), DirectRead(BASE + 1, 2), DirectRead(BASE + 4), DirectRead(BASE))
    process.run({0: partial(Exmaps.steps, process, asked, answers)})
    assert answers == [BASE, 1, 2, Errno.EFAULT, 1]
    assert process.is_present(BASE)
    assert not process.is_present(BASE + 3)
    assert process.machine.tally.sleeps == 3


def test_does_its_memory_go_with_the_mapping() -> None:
    process = Exmaps(60)
    process.ask(ExmapAlloc(0, words(*range(7))), Munmap(BASE, 4000))
    assert process.kernel.exmaps[0].pool is None
    assert process.ask(ExmapSetup(4, 2), MmapExmap(8, BASE), ExmapAlloc(0, words(1))) == [None, BASE, 1]
