"""Pages that go round in one process: who is interrupted, and when all is flushed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest

from sim.designs import DesignSpec
from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.mm import Fork
from sim.verify.kernels import BASE, LEAF, design
from sim.verify.variants import LATR, RECYCLING
from tests.kernels import Process

US = 1_000_000


def work(length: int, cpu: Cpu) -> Steps[None]:
    cpu.work(length, Activity("user"))
    yield cpu.take_pending()


def spec_of(**changes: Any) -> DesignSpec:
    return design("linux", {"recycling": RECYCLING, **changes})


class Beside(Process):
    """Cpu 0 works, the thread on cpu 1 computes. Both have touched *pages* pages at BASE, which cpu 0 unmaps
    last of all."""

    def __init__(self, pages: int = 1, **changes: Any) -> None:
        super().__init__("linux", spec=spec_of(**changes))
        touches = [("touch", BASE + each) for each in range(pages)]
        self.do(("mmap", pages, BASE), *touches)
        self.do(*touches, cpu=1)
        self.frame = self.space.root.walk(BASE).frame
        self.do(("munmap", BASE, pages))

    def run(self, bodies: Mapping[int, Callable[[Cpu], Steps[None]]], wakes_elsewhere: Any = ()) -> None:
        self.machine.tally.ipis = 0
        super().run({**dict.fromkeys(range(2), partial(work, 60 * US)), **bodies})


def test_is_nobody_interrupted_and_is_the_frame_free_at_once() -> None:
    process = Beside()
    assert process.machine.tally.ipis == 0
    assert process.frame not in process.kernel.pages.in_use
    assert process.translators(BASE) == [process.cpus[1]], "and not cpu 0"
    process.end()


def test_does_a_page_that_stays_with_the_process_need_no_flush() -> None:
    """The next fault gets the same page, at another address."""
    process = Beside()
    process.do(("mmap", 1, BASE + 9), ("touch", BASE + 9))
    entry = process.space.root.walk(BASE + 9)
    assert (entry.frame, process.machine.tally.ipis) == (process.frame, 0)
    assert process.translators(BASE) == [process.cpus[1]]


def test_does_the_kernel_choose_addresses_that_do_not_wait() -> None:
    process = Beside()
    (first,) = process.do(("mmap", 2))
    process.do(("touch", first))
    process.do(("munmap", first, 2))
    (second,) = process.do(("mmap", 2))
    assert second == first - 2
    assert process.machine.tally.ipis == 0


def test_is_a_page_flushed_that_becomes_a_page_table() -> None:
    process = Beside()
    process.do(("mmap", 1, BASE + 2 * LEAF), ("touch", BASE + 2 * LEAF))
    assert process.machine.tally.ipis == 1
    assert process.translators(BASE) == []


@pytest.mark.parametrize(("own", "interrupts"), [(True, 0), (False, 1)])
def test_is_a_page_flushed_that_another_process_gets(own: bool, interrupts: int) -> None:
    process = Beside()
    to = process.space.recycler if own else object()
    process.run({0: lambda cpu: process.kernel.recycled.given_away(cpu, process.frame, 0, to)})
    assert process.machine.tally.ipis == interrupts
    assert process.translators(BASE) == ([process.cpus[1]] if own else [])


@pytest.mark.parametrize(
    "operation", [("mmap", 1, BASE), ("mmap", 4, BASE - 2), ("mremap", BASE + 9, 1, 2, True, BASE)]
)
def test_is_all_flushed_before_an_address_is_mapped_again(operation: tuple[Any, ...]) -> None:
    process = Beside()
    process.do(("mmap", 1, BASE + 9))
    process.do(operation)
    assert process.machine.tally.ipis == 1
    assert process.translators(BASE) == []


def test_is_what_others_have_flushed_as_ever() -> None:
    """A child has the page, too."""
    process = Process("linux", spec=spec_of())
    process.do(("mmap", 1, BASE), ("touch", BASE))

    def forks(cpu: Cpu) -> Steps[None]:
        process.spaces.append((yield from process.space.perform(cpu, Fork())))

    process.run({0: forks})
    process.run({1: lambda cpu: process.space.access(cpu, BASE, write=False)})
    process.do(("munmap", BASE, 1))
    assert process.translators(BASE) == []
    assert not process.space.recycler.may_show(BASE, None)


def test_are_tables_left_until_so_many_addresses_wait() -> None:
    """64 pages of addresses: the flush that comes then takes the tables with it."""
    process = Beside(pages=40)
    tables = sum(1 for _ in process.space.root.tables())
    assert tables == 4
    process.do(("mmap", 40, BASE + 100), *[("touch", BASE + 100 + each) for each in range(40)])
    process.do(("munmap", BASE + 100, 40))
    assert process.machine.tally.ipis == 0, "it is for the next one"
    process.do(("mmap", 1, BASE + 200), ("touch", BASE + 200), ("munmap", BASE + 200, 1))
    assert sum(1 for _ in process.space.root.tables()) == 1
    assert not process.kernel.recycled.owner
    process.end()


@pytest.mark.parametrize(
    "changes",
    [
        {"huge_pages": {"thp": "always"}},
        {"flush": {"method": "broadcast", "broadcast_from": 2}},
        {"latr": {**LATR, "slots": 4}},
        {"switches": {"mmap_layout": "bottom-up"}},
    ],
)
def test_what_does_recycling_not_go_with(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="pages go round by interrupt"):
        spec_of(**changes)
