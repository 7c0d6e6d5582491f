"""Does memory that is populated and unmapped in bulk end where pages one after the other end?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import pytest
from kernels import BASE, LEAF, Process
from machines import SIBLINGS

from sim.designs.linux import LinuxKernel
from sim.designs.linux.descriptors import Descriptors
from sim.engine import Activity, Engine, Steps
from sim.hardware import Cpu
from sim.mm import (
    CreateFile,
    Errno,
    Exit,
    Fork,
    FrameTable,
    Ftruncate,
    Madvise,
    Mmap,
    MmapFile,
    MmapShared,
    Munmap,
    PhysicalMemory,
    Prepopulate,
    PrepopulateFolios,
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


IN_BULK = [
    *("linux", "linux-2.6.37", "linux-6.15", "linux-6.13-llfree", "adv", "rw", "arrays", "asterinas-0.18"),
    *(pytest.param(kind, marks=pytest.mark.ci) for kind in ("linux-buddy", "linux-7.0")),
    *(pytest.param(f"cortenmm-{kind}", marks=pytest.mark.ci) for kind in ("coarse", "rfc", "adv-zram")),
]
"""Kinds of designs that fill whole tables at once."""


@pytest.mark.parametrize("kind", IN_BULK)
def test_is_the_end_state_of_bulk_that_of_faults(kind: str) -> None:
    pages, at = 3 * LEAF + 100, BASE + LEAF - 50
    faults = Process(kind)
    faults.do(("mmap", pages, at), *(("touch", page) for page in range(at, at + pages)))
    bulk = populated(kind, pages, at)
    assert any(table.run is not None for table in bulk.space.root.tables())
    assert end_state(bulk) == end_state(faults)
    bulk.verify()


@pytest.mark.ci
@pytest.mark.parametrize("kind", ["optimistic", "nontransactional", "linux-6.13-zram"])
def test_do_designs_that_fill_no_table_at_once_fault_each_page_in(kind: str) -> None:
    """Each change of an entry has to be counted, or each page has a place of its own in a list."""
    pages, at = LEAF + 100, BASE + LEAF - 50
    faults = Process(kind)
    faults.do(("mmap", pages, at), *(("touch", page) for page in range(at, at + pages)))
    bulk = populated(kind, pages, at)
    assert all(table.run is None for table in bulk.space.root.tables())
    assert end_state(bulk) == end_state(faults)


@pytest.mark.parametrize("kind", ["linux", "linux-6.15"])
@pytest.mark.parametrize(("shared", "resident"), [(False, True), (True, True), (False, False)])
def test_are_pages_of_a_file_written_in_bulk_as_by_faults(kind: str, shared: bool, resident: bool) -> None:
    """A hole of the file is filled by a fault. The mapping begins and ends inside a table and in the file."""
    pages, first, at = LEAF + 100, 30, BASE + LEAF - 50
    faults, bulk = Process(kind), Process(kind)
    for process in (faults, bulk):
        process.run({0: partial(map_file, process, pages, first, at, shared=shared, resident=resident)})
    faults.do(*(("touch", page) for page in range(at, at + pages)))
    process_bulk(bulk, at, pages)
    runs = [table for table in bulk.space.root.tables() if table.run is not None]
    assert bool(runs) == (resident and not shared)
    assert end_state(bulk) == end_state(faults)
    assert bulk.space.stat.file_pages == faults.space.stat.file_pages == (pages if shared else 0)
    bulk.verify()
    for process in (faults, bulk):
        process.do(("munmap", at, pages))
        process.verify()
    assert free_frames(memory_of(bulk)) == free_frames(memory_of(faults))


def map_file(
    process: Process, pages: int, first: int, at: int, cpu: Cpu, *, shared: bool, resident: bool
) -> Steps[None]:
    """Map so many pages of a file a little longer from its page *first* on."""
    file = yield from process.kernel.perform(cpu, CreateFile("file", first + pages + 7, resident=resident))
    yield from process.space.perform(cpu, MmapFile(file, pages, first, shared, at))


def process_bulk(process: Process, at: int, pages: int) -> None:
    process.run({0: lambda cpu: process.space.perform(cpu, Prepopulate(at, pages))})


def memory_of(process: Process) -> PhysicalMemory:
    assert process.kernel.memory is not None
    return process.kernel.memory


def test_is_what_another_cpu_has_used_of_a_shared_file_faulted_in() -> None:
    """Its page descriptors have to come from there."""
    process = Process("linux")
    process.run({0: partial(map_file, process, 20, 0, BASE, shared=True, resident=True)})
    process.do(("touch", BASE + 3), cpu=1)
    begun = process.machine.engine.events
    process_bulk(process, BASE, 20)
    assert process.machine.engine.events - begun > 20
    assert len(list(entries(process))) == 20
    process.verify()


def test_is_nothing_lost_where_memory_ends_while_it_is_populated() -> None:
    process = Process("linux", machine={"memory": {"size_per_socket": "16 MiB"}})
    free = free_frames(memory_of(process))
    process.do(("mmap", 10_000, BASE))
    refused: list[Any] = []

    def body(cpu: Cpu) -> Steps[None]:
        refused.append((yield from process.space.perform(cpu, Prepopulate(BASE + 7, 9_000))))

    process.run({0: body})
    assert refused == [Errno.ENOMEM]
    process.verify()
    process.do(("munmap", BASE, 10_000))
    assert free_frames(memory_of(process)) >= free - 8  # tables of upper levels, and what slabs keep
    process.verify()


@pytest.mark.parametrize("cut", [100, 600, 0])
def test_are_pages_of_a_resident_file_taken_out_one_by_one(cut: int) -> None:
    process = Process("linux")
    free = free_frames(memory_of(process))
    made: list[Any] = []

    def body(cpu: Cpu) -> Steps[None]:
        file = yield from process.kernel.perform(cpu, CreateFile("file", 2 * LEAF + 5, resident=True))
        made.append(file)
        yield from process.kernel.perform(cpu, Ftruncate(file, cut))

    process.run({0: body})
    (file,) = made
    assert len(file.frames) == cut == len(set(file.frames)) == len(set(file.frames.values()))
    assert free_frames(memory_of(process)) == free - cut
    process.verify()


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


@pytest.mark.parametrize("kind", ["linux", "linux-7.0"])
def test_is_a_page_that_gets_the_frame_of_the_one_before_it_another_page(kind: str) -> None:
    """Shared memory over the first page of a run: its page is the frame that the run has just lost there. It
    is counted as what it is when all goes."""
    process = populated(kind, LEAF)
    stat = process.space.stat

    def body(cpu: Cpu) -> Steps[None]:
        first = process.space.root.walk(BASE).frame
        yield from process.space.perform(cpu, MmapShared(1, BASE, populate=True, replace=True))
        assert process.space.root.walk(BASE).frame == first
        assert (stat.anon_pages, stat.file_pages) == (LEAF - 1, 1)
        yield from process.space.perform(cpu, Munmap(BASE, LEAF))

    process.run({0: body})
    assert (stat.anon_pages, stat.file_pages) == (0, 0)


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
        cpu.work(777_777, Activity("computing"))
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


def in_folios(pages: int, folio: int, *, batch: bool = True, at: int = BASE) -> Process:
    process = Process("linux", changes={"switches": {"fork_batch": batch}})
    process.do(("mmap", SIZE, BASE))
    asked = PrepopulateFolios(at, pages, folio)
    told: list[Any] = []

    def body(cpu: Cpu) -> Steps[None]:
        told.append((yield from process.space.perform(cpu, asked)))

    process.run({0: body})
    assert told == [None if at % folio == 0 == pages % folio else Errno.EINVAL]
    return process


@pytest.mark.parametrize("folio", [2, 16, LEAF])
def test_is_a_folio_one_block_of_which_each_entry_is_an_owner(folio: int) -> None:
    """It is free when the last of them has gone, of whichever process."""
    process = in_folios(2 * LEAF, folio)
    memory = process.kernel.memory
    assert memory is not None
    first = next(entry.frame for page, entry in entries(process) if page == BASE)
    assert memory.in_use.owners(first) == folio
    assert memory.in_use.head(first + folio - 1) == first

    def body(cpu: Cpu) -> Steps[None]:
        child = yield from process.space.perform(cpu, Fork())
        yield from process.space.perform(cpu, Munmap(BASE, 2 * LEAF))
        assert memory.in_use.owners(first) == folio
        yield from process.load(cpu, child)
        yield from child.perform(cpu, Exit())
        yield from process.load(cpu, process.space)

    process.run({0: body})
    assert first not in memory.in_use.orders
    process.end()


def test_do_batches_make_a_fork_shorter() -> None:
    """Half of the work of each page, and one of its two atomics, but for the first page of a folio."""

    def took(folio: int, *, batch: bool) -> int:
        process = in_folios(LEAF, folio, batch=batch)
        begun = process.machine.engine.now

        def body(cpu: Cpu) -> Steps[None]:
            child = yield from process.space.perform(cpu, Fork())
            if cpu.pending:
                yield cpu.take_pending()
            spent.append(process.machine.engine.now - begun)
            yield from process.load(cpu, child)
            yield from child.perform(cpu, Exit())
            yield from process.load(cpu, process.space)

        spent: list[int] = []
        process.run({0: body})
        return spent[0]

    assert took(LEAF, batch=True) < took(2, batch=True) < took(2, batch=False) == took(LEAF, batch=False)


def test_is_a_range_of_half_a_folio_refused() -> None:
    in_folios(24, 16).end()
    in_folios(16, 16, at=BASE + 8).end()


# -- CortenMM ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["adv", "rw"])
def test_does_a_transaction_that_removes_a_run_do_what_one_that_removes_its_pages_does(kind: str) -> None:
    """An entry that was looked at stands for itself. Parts of tables and whole ones; frees after sweeps."""
    found = []
    for looked_at in (False, True):
        process = populated(kind, SIZE)
        process.run({1: touching(BASE + 20, 30)(process)})
        for table in process.space.root.tables() if looked_at else ():
            for slot in range(LEAF if table.run is not None else 0):
                table.get(slot)
        process.run({0: unmap(BASE + 7, 3 * LEAF)(process)})
        process.run({1: unmap(BASE, SIZE)(process), 0: touching(ELSEWHERE, 0)(process)})
        deferred = sum(each.frames for each in process.space.deferred())
        process.end()
        memory = process.kernel.memory
        assert memory is not None
        found.append(
            {
                "now": process.machine.engine._now,
                "spent": {cpu.id: dict(cpu.spent) for cpu in process.cpus},
                "deferred": deferred,
                "owners": owners(memory.in_use),
                "buddies": [[list(blocks) for blocks in pool.buddy._free] for pool in memory.buddies()],
                "caches": [list(each.blocks) for each in memory.free_lists()],
            }
        )
    bulk, plain = found
    assert {key: bulk[key] == plain[key] for key in bulk} == dict.fromkeys(bulk, True)
    assert bulk["deferred"] > 0
