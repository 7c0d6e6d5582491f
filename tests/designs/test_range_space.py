"""Does Linux with a lock of ranges let faults and mprotect work beside each other, and map alone?"""

from __future__ import annotations

from typing import Any

import pytest
from kernels import BASE, LEAF, Process
from machines import NS
from pydantic import ValidationError

from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.mm import READ_WRITE, Mmap, Mprotect, Munmap, Rights

US = 1000 * NS
RANGES: dict[str, Any] = {
    "mmap_lock": "ranges",
    "vma_index": "rbtree",
    "vma_lock": "none",
    "switches": {"prefetchw_mmap_lock": False, "munmap_downgrade": False},
}
READ_ONLY = Rights(4)


def end_of_both(second: Any, **costs: str) -> dict[int, int]:
    """When a thread ends that takes the right to write from four pages, and another one that does *second*
    meanwhile."""
    process = Process("linux", cpus=2, changes={**RANGES, "costs": {"change_page": "100 us", **costs}})
    first = [("mmap", 4, BASE), *(("touch", BASE + page) for page in range(4))]
    process.do(*first, ("mmap", 4, BASE + 2 * LEAF), ("touch", BASE + 2 * LEAF))
    ended: dict[int, int] = {}

    def protects(cpu: Cpu) -> Steps[None]:
        yield from process.space.perform(cpu, Mprotect(BASE, 4, READ_ONLY))
        ended[0] = cpu.now

    def others(cpu: Cpu) -> Steps[None]:
        cpu.work(20 * US, Activity("user"))
        yield from second(process, cpu)
        ended[1] = cpu.now

    process.run({0: protects, 1: others})
    return ended


def touches(process: Process, cpu: Cpu) -> Steps[None]:
    yield from process.space.access(cpu, BASE + 2 * LEAF + 1)


def protects_another(process: Process, cpu: Cpu) -> Steps[None]:
    yield from process.space.perform(cpu, Mprotect(BASE + 2 * LEAF, 4, READ_ONLY))


def cuts_another(process: Process, cpu: Cpu) -> Steps[None]:
    yield from process.space.perform(cpu, Mprotect(BASE + 2 * LEAF + 1, 1, READ_ONLY))


def maps(process: Process, cpu: Cpu) -> Steps[None]:
    yield from process.space.perform(cpu, Mmap(4))


def unmaps(process: Process, cpu: Cpu) -> Steps[None]:
    yield from process.space.perform(cpu, Munmap(BASE + 2 * LEAF, 4))


@pytest.mark.parametrize("second", [touches, protects_another])
def test_who_works_beside_an_mprotect(second: Any) -> None:
    ended = end_of_both(second)
    assert ended[1] < ended[0]


@pytest.mark.parametrize("second", [cuts_another, maps, unmaps])
def test_who_waits_for_it(second: Any) -> None:
    ended = end_of_both(second)
    assert ended[0] < ended[1]


def test_does_a_boundary_move_without_everything_locked() -> None:
    """glibc's arenas grow like that: the part of a heap that is in use takes pages from the rest."""
    process = Process("linux", cpus=1, changes=RANGES)
    process.do(("mmap", 8, BASE))
    process.do(("mprotect", BASE + 4, 4, Rights(0)))
    before: int = process.space.locks.sequence  # type: ignore[attr-defined]

    def grows(cpu: Cpu) -> Steps[None]:
        yield from process.space.perform(cpu, Mprotect(BASE + 4, 2, READ_WRITE))

    process.run({0: grows})
    assert [(each.start - BASE, each.end - BASE) for each in process.space.mappings()] == [(0, 6), (6, 8)]
    assert process.space.locks.sequence == before  # type: ignore[attr-defined]


def test_is_a_vma_lock_beside_it_refused() -> None:
    with pytest.raises(ValidationError, match="locks its page by a range"):
        Process("linux", changes={**RANGES, "vma_index": "maple", "vma_lock": "rwsem"})
