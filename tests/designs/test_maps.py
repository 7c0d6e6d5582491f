"""What does a reader of /proc/PID/maps hold, and what does it see?"""

from __future__ import annotations

from typing import Any

import pytest
from held import Held
from kernels import BASE, REFCOUNT_LOCK, RWSEM_LOCK, Process, design
from pydantic import ValidationError

from sim.engine import Activity, Probe, Steps
from sim.hardware import Cpu
from sim.mm import READ, READ_WRITE, Mmap, Munmap, ReadMaps


def mapped(changes: dict[str, Any], *listeners: Probe, vmas: int = 5) -> Process:
    process = Process("linux", changes=changes, listeners=listeners)
    process.do(*(("mmap", 2, BASE + 4 * number) for number in range(vmas)))
    return process


def by_vma(lock: dict[str, Any]) -> dict[str, Any]:
    return {**lock, "switches": {**lock.get("switches", {}), "maps_lock": "vma"}}


def reads(process: Process, lines: list[Any]) -> Any:
    def body(cpu: Cpu) -> Steps[None]:
        found = yield from process.space.perform(cpu, ReadMaps())
        lines.extend((line.start - BASE, line.end - BASE, line.rights) for line in found)

    return body


KERNELS = [RWSEM_LOCK, by_vma(RWSEM_LOCK), by_vma(REFCOUNT_LOCK)]


@pytest.mark.parametrize("changes", KERNELS)
@pytest.mark.parametrize("vmas", [0, 1, 3, 5])
def test_has_it_a_line_for_each_vma(changes: dict[str, Any], vmas: int) -> None:
    process = mapped(changes, vmas=vmas)
    process.do(("mmap", 1, BASE + 100, READ))
    lines: list[Any] = []
    process.run({0: reads(process, lines)})
    expected = [(4 * number, 4 * number + 2, READ_WRITE) for number in range(vmas)]
    assert lines == [*expected, (100, 101, READ)]
    process.end()


def test_how_often_does_it_take_mmap_lock() -> None:
    """Once for each page of three lines; since 6.17 not at all."""
    for changes, events in ((RWSEM_LOCK, ["read", "release"] * 2), (by_vma(REFCOUNT_LOCK), [])):
        held = Held()
        process = mapped(changes, held)
        held.heard()
        process.run({0: reads(process, [])})
        assert held.heard() == events


@pytest.mark.parametrize(("changes", "waits"), [(RWSEM_LOCK, True), (by_vma(REFCOUNT_LOCK), False)])
def test_does_a_mmap_wait_until_a_page_is_full(changes: dict[str, Any], waits: bool) -> None:
    process = mapped({**changes, "costs": {"maps_line": "1 ms"}}, vmas=3)
    ended: dict[str, int] = {}
    lines: list[Any] = []
    read = reads(process, lines)

    def reader(cpu: Cpu) -> Steps[None]:
        yield from read(cpu)
        ended["read"] = cpu.now

    def maps(cpu: Cpu) -> Steps[None]:
        cpu.work(500_000_000, Activity("user"))
        yield from process.space.perform(cpu, Mmap(1, BASE + 50))
        ended["mmap"] = cpu.now

    process.run({0: reader, 1: maps})
    assert (ended["mmap"] > 3_000_000_000) is waits
    assert (len(lines), ended["mmap"] > ended["read"]) == ((3, True) if waits else (4, False))


@pytest.mark.parametrize("changes", KERNELS)
@pytest.mark.parametrize("delay", range(0, 12_000_000, 400_000))
def test_is_what_nobody_changes_always_there(changes: dict[str, Any], delay: int) -> None:
    """Others unmap VMAs that are about to be shown, and map them again."""
    process = mapped(changes)
    lines: list[Any] = []

    def unmaps(cpu: Cpu) -> Steps[None]:
        cpu.work(delay, Activity("user"))
        for at in (BASE + 4, BASE + 12):
            yield from process.space.perform(cpu, Munmap(at, 2))
            yield from process.space.perform(cpu, Mmap(2, at))

    process.run({0: reads(process, lines), 1: unmaps})
    assert {(0, 2, READ_WRITE), (8, 10, READ_WRITE), (16, 18, READ_WRITE)} <= set(lines)
    assert lines == sorted(set(lines), key=lambda line: line[0])
    process.end()


def test_is_a_reader_refused_that_locks_what_has_no_lock() -> None:
    with pytest.raises(ValidationError, match="locks VMAs for reading, and there is no such lock in none"):
        design("linux", {"vma_lock": "none", "switches": {"maps_lock": "vma"}})
