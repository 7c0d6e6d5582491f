"""LATR on Linux: who flushes when, and what is kept until then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest

from sim.designs import DesignSpec
from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.mm import READ
from sim.verify.kernels import BASE, design
from sim.verify.variants import LATR
from tests.kernels import Process

US = 1_000_000


def latr(slots: int = 256, **changes: Any) -> DesignSpec:
    return design("linux", {"latr": {**LATR, "slots": slots}, **changes})


def work(length: int, cpu: Cpu) -> Steps[None]:
    cpu.work(length, Activity("user"))
    yield cpu.take_pending()


class Beside(Process):
    """Cpu 0 does the operations, while the thread on cpu 1 computes for *busy* ps in user mode."""

    busy = 8 * US

    def run(self, bodies: Mapping[int, Callable[[Cpu], Steps[None]]]) -> None:
        super().run({1: partial(work, self.busy), **bodies})


def process_of(spec: DesignSpec, pages: int = 1) -> tuple[Beside, int]:
    """A process with *pages* at BASE, touched on both cpus; value: it and the frame of the first page."""
    process = Beside("linux", spec=spec)
    touches = [("touch", BASE + each) for each in range(pages)]
    process.do(("mmap", pages, BASE), *touches)
    process.do(*touches, cpu=1)
    entry = process.space.root.walk(BASE)
    return process, int(entry.frame)


def test_is_nobody_interrupted_and_does_a_tick_flush() -> None:
    process, frame = process_of(latr(rcu={"tick": "50 us"}))
    process.do(("munmap", BASE, 1))
    assert process.machine.tally.ipis == 0
    assert process.translators(BASE) == [process.cpus[1]]
    process.busy = 100 * US
    process.do(("mmap", 1, BASE + 9), ("touch", BASE + 9), ("munmap", BASE + 9, 1))
    assert process.translators(BASE) == []
    assert frame in process.kernel.pages.in_use, "it is kept for longer"
    process.end()


def test_are_pages_free_when_they_have_been_kept_long_enough() -> None:
    process, frame = process_of(latr())
    others = ("mmap", 1, BASE), ("touch", BASE), ("munmap", BASE, 1)
    process.busy = 60 * US
    process.do(("munmap", BASE, 1))
    process.do(*others)
    assert frame not in process.kernel.pages.in_use
    process.end()


def test_does_a_page_stay_as_long_as_a_cpu_may_translate_to_it() -> None:
    """The thread on cpu 1 has ended, and an idle cpu has no ticks: its time is over, and the page is kept."""
    process, frame = process_of(latr())
    process.busy = 0
    process.do(("munmap", BASE, 1))
    process.run({0: partial(work, 60 * US)})
    process.do(("mmap", 1, BASE), ("touch", BASE), ("munmap", BASE, 1))
    assert frame in process.kernel.pages.in_use
    process.end()


@pytest.mark.parametrize(("slots", "interrupts"), [(2, 1), (3, 0)])
def test_is_a_flush_by_interrupt_when_the_ring_is_full(slots: int, interrupts: int) -> None:
    process, _ = process_of(latr(slots), pages=2)
    process.do(("munmap", BASE, 1), ("munmap", BASE + 1, 1))
    assert process.machine.tally.ipis == interrupts
    process.end()


@pytest.mark.parametrize(
    "operation", [("mprotect", BASE + 1, 1, READ), ("mmap", 1, BASE + 1), ("mremap", BASE, 2, 1)]
)
def test_is_only_an_munmap_lazy(operation: tuple[Any, ...]) -> None:
    process, _ = process_of(latr(), pages=2)
    process.do(operation)
    assert process.machine.tally.ipis == 1
    assert BASE + 1 not in process.cpus[1].tlb.frames()
    process.end()


def test_is_madvise_lazy_and_are_tables_kept_too() -> None:
    process, _ = process_of(latr())
    process.do(("discard", BASE, 1))
    assert process.machine.tally.ipis == 0
    tables = len(list(process.space.root.tables()))
    process.do(("munmap", BASE, 1))
    assert process.machine.tally.ipis == 0
    gone = tables - len(list(process.space.root.tables()))
    kept = [each for each in process.kernel.references() if "LATR" in each.owner and "table" in each.owner]
    kept += [each for each in process.space.deferred() if "table" in each.owner]
    assert len(kept) == gone > 0
    process.end()
