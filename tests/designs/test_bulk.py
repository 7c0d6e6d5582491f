"""Does memory that is populated and unmapped in bulk end where pages one after the other end?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from kernels import BASE, LEAF, Process
from machines import SIBLINGS

from sim.designs.linux import LinuxKernel
from sim.designs.linux.descriptors import Descriptors
from sim.engine import Engine, Steps
from sim.hardware import Cpu
from sim.mm import (
    Exit,
    Fork,
    FrameTable,
    Madvise,
    Mmap,
    Munmap,
    PhysicalMemory,
    Prepopulate,
    Present,
    node_policy,
)

Body = Callable[[Cpu], Steps[None]]


def populated(kind: str, pages: int, at: int = BASE, **options: Any) -> Process:
    process = Process(kind, **options)

    def body(cpu: Cpu) -> Steps[None]:
        yield from process.space.perform(cpu, Mmap(pages, at))
        refused = yield from process.space.perform(cpu, Prepopulate(at, pages))
        assert refused is None

    process.run({0: body})
    return process


def entries(process: Process, space: Any = None) -> Iterator[tuple[int, Present]]:
    return (process.space if space is None else space).root.present_entries()


def owners(in_use: FrameTable) -> dict[int, int]:
    runs = {frame: run.value for run in in_use.runs for frame in range(run.start, run.end)}
    return dict(sorted({**in_use.refcount, **runs}.items()))


def free_frames(memory: PhysicalMemory) -> int:
    free = sum(pool.buddy.free_frames for pool in memory.buddies())
    return free + sum(len(each.blocks) << each.order for each in memory.free_lists())


@pytest.mark.parametrize("kind", ["linux", "linux-2.6.37", "linux-6.15", "linux-6.13-llfree", "adv", "rw"])
def test_is_the_end_state_of_bulk_that_of_faults(kind: str) -> None:
    pages, at = 3 * LEAF + 100, BASE + LEAF - 50
    faults = Process(kind)
    faults.do(("mmap", pages, at), *(("touch", page) for page in range(at, at + pages)))
    bulk = populated(kind, pages, at)
    assert any(table.run is not None for table in bulk.space.root.tables())
    assert end_state(bulk) == end_state(faults)
    bulk.verify()


def end_state(process: Process) -> list[Any]:
    """What a kernel promises: which frame is where, and on which free list, is left to it."""
    space, memory = process.space, process.kernel.memory
    assert memory is not None
    counters: list[Any] = []
    if isinstance(process.kernel, LinuxKernel):
        process.run({0: space.lru.drain})
        names = ("anon_pages", "total_vm", "pgtables_bytes", "map_count")
        counters = [(name, getattr(space.stat, name)) for name in names]
        counters += [vma.anon_vma is not None for vma in space.tree]
        counters += [entry.frame in space.lru._on_lru for _, entry in entries(process)]
    return [
        [(page, str(entry).split("(")[1], entry.accessed, entry.dirty) for page, entry in entries(process)],
        [(table.level, table.base, table.present) for table in space.root.tables()],
        list(space.mappings()),
        counters,
        free_frames(memory),
        len(memory.in_use),
        {space.node_of(process.cpus[0], entry.frame) for _, entry in entries(process)},
    ]


def test_is_interleaved_memory_not_taken_in_bulk() -> None:
    process = Process("linux")
    process.kernel.place_memory(node_policy("interleave", process.machine.spec.topology))
    process.do(("mmap", LEAF, BASE))
    process.run({0: lambda cpu: process.space.perform(cpu, Prepopulate(BASE, LEAF))})
    nodes = [process.space.node_of(process.cpus[0], entry.frame) for _, entry in entries(process)]
    assert nodes.count(0) == nodes.count(1) == LEAF // 2


# -- unmapping --------------------------------------------------------------------------------------------


def state(process: Process) -> dict[str, Any]:
    """All of it: time and accounts, entries, who has which frame, each free list in its order."""
    kernel = process.kernel
    assert isinstance(kernel, LinuxKernel)
    on_lru = kernel.lru._on_lru
    listed = set(on_lru) | {frame for run in on_lru.runs for frame in range(run.start, run.end)}
    return {
        "now": process.machine.engine._now,
        "spent": {cpu.id: {what: time for what, time in cpu.spent.items() if time} for cpu in process.cpus},
        "entries": [
            (page, repr(entry)) for space in process.spaces for page, entry in entries(process, space)
        ],
        "owners": owners(kernel.pages.in_use),
        "buddies": [[list(blocks) for blocks in zone.buddy._free] for zone in kernel.pages.zones],
        "lists": [zone.pcp for zone in kernel.pages.zones],
        "lru": sorted(listed),
        "descriptors": users(kernel.descriptors),
        "pages": [space.stat.anon_pages for space in process.spaces],
    }


def users(descriptors: Descriptors) -> dict[int, str]:
    """Who has used which page descriptor; those of lines, if several have."""
    runs = {frame: run.value for run in descriptors._runs for frame in range(run.start, run.end)}
    return {frame: repr(user) for frame, user in sorted({**descriptors._lines, **runs}.items())}


def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each entry is cleared in a step of its own: nothing is known of what happens next."""
    for ahead in ("quiet_until", "calls_from"):
        monkeypatch.setattr(Engine, ahead, property(lambda engine: engine._now))


def unmap(at: int, pages: int) -> Callable[[Process], Body]:
    return lambda process: lambda cpu: process.space.perform(cpu, Munmap(at, pages))


def touching(at: int, pages: int, times: int = 1) -> Callable[[Process], Body]:
    def body(process: Process) -> Body:
        def touch(cpu: Cpu) -> Steps[None]:
            for _ in range(times):
                for page in range(at, at + pages):
                    yield from process.space.access(cpu, page)

        return touch

    return body


def discarding(at: int, pages: int) -> Callable[[Process], Body]:
    return lambda process: lambda cpu: process.space.perform(cpu, Madvise(at, pages))


ELSEWHERE = BASE + 16 * LEAF


def elsewhere(process: Process) -> Body:
    return lambda cpu: process.space.perform(cpu, Mmap(LEAF, ELSEWHERE))


def flushing(process: Process) -> Body:
    """It interrupts the others again and again."""

    def flush(cpu: Cpu) -> Steps[None]:
        for _ in range(20):
            for page in range(ELSEWHERE, ELSEWHERE + 5):
                yield from process.space.access(cpu, page)
            yield from process.space.perform(cpu, Madvise(ELSEWHERE, 5))

    return flush


def forking(process: Process) -> Body:
    """A child, which a part of the parent's memory outlives in."""

    def fork(cpu: Cpu) -> Steps[None]:
        child = yield from process.space.perform(cpu, Fork())
        process.spaces.append(child)
        yield from process.space.perform(cpu, Munmap(BASE, 2 * LEAF))

    return fork


def family(process: Process) -> Body:
    """Two children and a grandchild; they and their parent write some of their pages, and end one by one."""

    def live(cpu: Cpu) -> Steps[None]:
        spaces = [process.space]
        for parent, page in ((0, 3), (0, LEAF + 7), (1, 2 * LEAF)):
            spaces.append((yield from spaces[parent].perform(cpu, Fork())))
            yield from process.load(cpu, spaces[-1])
            for each in range(BASE + page, BASE + page + 4):
                yield from spaces[-1].access(cpu, each)
            yield from process.load(cpu, process.space)
            yield from process.space.access(cpu, BASE + page + 2)
        for space in (spaces[1], spaces[3]):
            yield from process.load(cpu, space)
            yield from space.perform(cpu, Exit())
            yield from process.load(cpu, process.space)
        yield from process.space.perform(cpu, Munmap(BASE, SIZE))

    return live


SIZE = 4 * LEAF
CASES: dict[str, list[Mapping[int, Callable[[Process], Body]]]] = {
    "alone": [{0: unmap(BASE, SIZE)}],
    "parts": [{0: unmap(BASE + 5, 700)}, {0: unmap(BASE + 701, 3)}, {0: unmap(BASE, SIZE)}],
    "another cpu": [{1: unmap(BASE, SIZE)}],
    "after touches elsewhere": [{1: touching(BASE + 20, 30)}, {0: unmap(BASE, SIZE)}],
    "two at a time": [{0: unmap(BASE, SIZE // 2), 1: unmap(BASE + SIZE // 2, SIZE // 2)}],
    "interrupted": [{1: elsewhere}, {0: unmap(BASE, SIZE), 1: flushing, 2: flushing}],
    "beside faults": [{0: discarding(BASE, SIZE), 1: touching(BASE + LEAF, 40, times=5)}],
    "twice the same": [{0: discarding(BASE, SIZE), 1: discarding(BASE, SIZE)}],
    "beside a thread that computes": [{0: unmap(BASE, SIZE), 1: lambda process: busy}],
    "shared with a child": [{0: forking}],
    "shared with a child on another cpu": [{1: forking}, {0: unmap(BASE + LEAF, 2 * LEAF)}],
    "shared with a child beside faults": [{0: forking, 1: touching(BASE + 3 * LEAF, 40, times=5)}],
    "shared in a family": [{0: family}],
    "beside its sibling": [{0: unmap(BASE, SIZE), 16: lambda process: busy}],
}


def busy(cpu: Cpu) -> Steps[None]:
    for _ in range(2000):
        cpu.work(777_777, "computing")
        yield cpu.take_pending()


MACHINE = {"coherence": {"spread": 0.1, "sibling": "3 ns"}, "topology": SIBLINGS["topology"]}
"""Transfers take random times, and siblings slow each other down."""


@pytest.mark.parametrize(
    ("case", "kind", "machine"),
    [
        *((case, "linux", MACHINE) for case in CASES),
        ("alone", "linux-6.13", {}),
        ("two at a time", "linux-2.6.37", MACHINE),
        ("another cpu", "linux", {"coherence": {"probe": 0.5}}),
        ("beside faults", "linux-6.15", {"coherence": {"probe": 0.5}}),
    ],
)
def test_is_unmapping_in_bulk_the_same_as_one_page_after_another(
    monkeypatch: pytest.MonkeyPatch, case: str, kind: str, machine: dict[str, Any]
) -> None:
    found = []
    for slowly in (False, True):
        with monkeypatch.context() as patched:
            if slowly:
                one_at_a_time(patched)
            cpus = 1 + max(cpu for bodies in CASES[case] for cpu in (*bodies, 1))
            process = populated(kind, SIZE, machine=machine, cpus=cpus)
            for bodies in CASES[case]:
                process.run({cpu: body(process) for cpu, body in bodies.items()})
        found.append((state(process), process.machine.engine.events))
    (bulk, few), (plain, many) = found
    assert {key: bulk[key] == plain[key] for key in bulk} == dict.fromkeys(bulk, True)
    assert few < many


def test_is_each_entry_a_step_of_its_own_where_the_schedule_is_asked() -> None:
    """Who explores schedules wants to come between any two of them."""
    few, many = (populated("linux", SIZE, ties=ties) for ties in ("fifo", "priority"))
    for process in (few, many):
        process.do(("munmap", BASE, SIZE))
    assert many.machine.engine.events > few.machine.engine.events + SIZE // 2
