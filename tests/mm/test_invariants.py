"""Does the check at the end of a run find what is broken, and say what? Each test breaks the data by hand."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kernels import BASE, KINDS, LEAF, Process, design, entry_of, table_of
from machines import run, small_machine

from sim.designs import build
from sim.engine import Steps
from sim.files import load_spec
from sim.hardware import Cpu
from sim.mm import (
    EXECUTE,
    MAX_ORDER,
    READ,
    READ_WRITE,
    AllocatePages,
    BrokenInvariant,
    FreePages,
    Kind,
    Mapped,
    Mmap,
    Mprotect,
    PageTablePage,
    Present,
    Reference,
    Rights,
    Status,
    slot_of,
)
from sim.mm.invariants import mappings_are_disjoint

EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
CORTENMM = pytest.mark.parametrize("kind", ["rw", "adv"])


def used(kind: str, **options: Any) -> Process:
    """Eight pages at `BASE`, of which two were touched by two cpus, and as many on the next leaf."""
    process = Process(kind, **options)
    for at in (BASE, BASE + LEAF):
        process.do(("mmap", 8, at), ("touch", at), ("touch", at + 3))
        process.do(("touch", at), cpu=1)
    return process


def finds(process: Process, invariant: str, what: str) -> None:
    with pytest.raises(BrokenInvariant, match=what) as found:
        process.verify()
    assert found.value.invariant == invariant


def leaf(process: Process, page: int = BASE) -> PageTablePage:
    table = table_of(process.space.root, page, 1)
    assert table is not None
    return table


def page_at(process: Process, page: int = BASE) -> Present:
    entry = entry_of(process.space.root, page)
    assert isinstance(entry, Present)
    return entry


def flush(process: Process) -> None:
    for cpu in process.cpus:
        cpu.tlb.flush()


def memory(process: Process) -> Any:
    return process.kernel.memory


def lru(process: Process) -> Any:
    kernel: Any = process.kernel
    return kernel.lru


# -- tables ----------------------------------------------------------------------------------------------

TABLES = "tables fit their place"


@EVERY_KIND
def test_is_a_stray_table_that_is_still_linked_found(kind: str) -> None:
    process = used(kind)
    leaf(process).stray = True
    finds(process, TABLES, f"L1 table of page {BASE:#x} is linked but stray")


@EVERY_KIND
def test_is_a_wrong_count_of_entries_found(kind: str) -> None:
    process = used(kind)
    count = leaf(process).present
    leaf(process).present += 1
    finds(process, TABLES, f"counts {count + 1} entries and has {count}")


@EVERY_KIND
def test_is_a_leaf_with_a_child_found(kind: str) -> None:
    process = used(kind)
    leaf(process).set(9, leaf(process, BASE + LEAF))
    finds(process, TABLES, f"is a leaf with a child at page {BASE + 9:#x}")


@EVERY_KIND
def test_is_a_table_that_is_linked_twice_found(kind: str) -> None:
    process = used(kind)
    above = table_of(process.space.root, BASE, 2)
    assert above is not None
    above.set(slot_of(BASE + 2 * LEAF, 2), leaf(process))
    finds(process, TABLES, f"page {BASE:#x} is linked as L1 table of page {BASE + 2 * LEAF:#x}")


@EVERY_KIND
def test_is_a_page_of_another_size_than_its_place_found(kind: str) -> None:
    process = used(kind)
    page_at(process).level = 2
    finds(process, TABLES, f"has an entry for 512 pages at {BASE:#x}")


@pytest.mark.parametrize("fills", [False, True])
def test_is_a_swap_slot_that_stands_for_many_pages_found(fills: bool) -> None:
    process = used("adv")
    swapped = Status(READ_WRITE, Kind.SWAPPED, slot=7)
    if fills:
        leaf(process).fill = swapped
        finds(process, TABLES, r"is filled with one page: swapped to slot 7 \(rw\)")
    else:
        above = table_of(process.space.root, BASE, 2)
        assert above is not None
        above.set(slot_of(BASE + 2 * LEAF, 2), swapped)
        finds(process, TABLES, rf"has one page for 512 at {BASE + 2 * LEAF:#x}: swapped to slot 7")


# -- mappings --------------------------------------------------------------------------------------------

OUTSIDE = "no present entry outside a mapping"


def test_is_a_page_outside_of_all_vmas_found() -> None:
    process = used("linux")
    leaf(process).set(8, Present(99, READ))
    finds(process, OUTSIDE, rf"page {BASE + 8:#x} is present \(frame 99 \(r\)\) and nothing is mapped there")


def test_is_a_huge_page_that_reaches_beyond_its_vma_found() -> None:
    process = used("linux")
    process.do(("mmap", LEAF - 1, BASE + 2 * LEAF))
    above = table_of(process.space.root, BASE, 2)
    assert above is not None
    above.set(slot_of(BASE + 2 * LEAF, 2), Present(1024, READ, level=2))
    finds(process, OUTSIDE, f"page {BASE + 3 * LEAF - 1:#x} is present")


@CORTENMM
def test_is_a_mark_where_no_address_was_given_away_found(kind: str) -> None:
    process = used(kind)
    leaf(process, BASE + LEAF).set(8, Status(READ))
    finds(
        process,
        "structures agree",
        rf"\(r\) is mapped, but nobody got addresses from {BASE + LEAF + 8:#x} on",
    )


@CORTENMM
def test_is_a_pointer_that_lags_behind_what_is_mapped_found(kind: str) -> None:
    process = used(kind, changes={"va_allocator": "global"})
    process.space.va._next -= 1
    finds(process, "structures agree", "is mapped, but nobody got addresses from")


def test_is_an_entry_with_more_rights_than_its_vma_found() -> None:
    process = used("linux")
    page_at(process).rights |= EXECUTE
    what = rf"page {BASE:#x} is frame \d+ \(rwx\), and its mapping is {BASE:#x}-{BASE + 8:#x} \(rw\)"
    finds(process, "no entry with more rights than its mapping", what)


class Says:
    """A space that has *mapped*, and says of each page of *pages* that it may be read."""

    def __init__(self, mapped: list[tuple[int, int]], pages: set[int]) -> None:
        self._mapped = mapped
        self._pages = pages

    def mappings(self) -> Iterator[Mapped]:
        for start, end in self._mapped:
            yield Mapped(start, end, READ)

    def status(self, page: int) -> Rights | None:
        return READ if page in self._pages else None


@pytest.mark.parametrize(
    ("mapped", "pages", "what"),
    [
        ([(4, 8), (6, 9)], range(4, 9), r"0x6-0x9 \(r\) begins below 0x8, where another ends"),
        ([(6, 9), (2, 4)], (2, 3, 6, 7, 8), r"0x2-0x4 \(r\) begins below 0x9"),
        ([(4, 4)], (), r"0x4-0x4 \(r\) is empty"),
        ([(4, 8)], range(5, 8), r"page 0x4 of 0x4-0x8 \(r\) has no rights"),
        ([(4, 8)], range(4, 7), r"page 0x7 of 0x4-0x8 \(r\) has no rights"),
        ([(4, 8)], range(4, 9), "page 0x8 is mapped and in no mapping"),
        ([(4, 8)], range(3, 8), "page 0x3 is mapped and in no mapping"),
        ([(4, 8), (12, 14)], (*range(4, 9), 12, 13), "page 0x8 is mapped and in no mapping"),
    ],
)
def test_are_mappings_found_that_overlap_or_that_the_space_denies(
    mapped: list[tuple[int, int]], pages: Any, what: str
) -> None:
    with pytest.raises(BrokenInvariant, match=what) as found:
        mappings_are_disjoint(Says(mapped, set(pages)))  # type: ignore[arg-type]
    assert found.value.invariant == "mappings are disjoint"


def test_does_the_error_survive_the_way_out_of_a_worker() -> None:
    error = pickle.loads(pickle.dumps(BrokenInvariant("no frame is lost", "3 of 4")))
    assert (error.invariant, str(error)) == ("no frame is lost", "no frame is lost: 3 of 4")


def test_are_mappings_side_by_side_in_order() -> None:
    found = mappings_are_disjoint(Says([(2, 4), (4, 8)], set(range(2, 8))))  # type: ignore[arg-type]
    assert found == [Mapped(2, 4, READ), Mapped(4, 8, READ)]


# -- what only one design has ----------------------------------------------------------------------------


def _index_differs(process: Process) -> None:
    process.space.tree._starts[0] += 1


def _leaf_forgets(process: Process) -> None:
    root = process.space.tree._root
    last = max(place for place, vma in enumerate(root.slots) if vma is not None)
    del root.slots[last], root.ends[last - 1]


def _range_ends_before_it_begins(process: Process) -> None:
    process.space.tree._root.ends[1] = 5


def _detached(process: Process) -> None:
    next(iter(process.space.tree)).detached = True


def _no_anon_vma(process: Process) -> None:
    list(process.space.tree)[1].anon_vma = None


def _marked_by_nobody(process: Process) -> None:
    vma = next(iter(process.space.tree))
    vma.lock._mark = process.space.vma_locks.seq.value + 1


def _listed_and_free(process: Process) -> None:
    lru(process)._on_lru.add(99_999)


def _listed_twice(process: Process) -> None:
    lru(process)._on_lru.add(page_at(process).frame)


@pytest.mark.parametrize(
    ("breaks", "what"),
    [
        (_leaf_forgets, "the leaves hold 1 VMAs, and these are not the 2 of the list"),
        (
            _range_ends_before_it_begins,
            "a slot of the maple node at 0x0 ends at 0x5, where it begins or before",
        ),
        (_detached, "is in the tree and detached"),
        (_no_anon_vma, f"has page {BASE + LEAF:#x} and no anon_vma"),
        (_marked_by_nobody, "is marked by writer"),
        (_listed_and_free, "frame 99999 is on the LRU and free"),
        (_listed_twice, "is on the LRU and in a batch of cpu 0"),
    ],
)
def test_are_contradictions_of_linux_found(breaks: Callable[[Process], None], what: str) -> None:
    process = used("linux", changes={"limits": {"lru_batch": 64}})
    breaks(process)
    finds(process, "structures agree", what)


def test_is_a_list_of_vmas_that_is_indexed_wrongly_found() -> None:
    process = used("linux")
    _index_differs(process)
    finds(process, "mappings are disjoint", f"page {BASE:#x} of .* has no rights")


def tree_of(vmas: int) -> tuple[Process, Any]:
    """A process with so many VMAs apart from each other, and the root of their tree."""
    process = Process("linux")
    process.do(*(("mmap", 1, BASE + 2 * page) for page in range(vmas)))
    return process, process.space.tree._root


def leaves_of(node: Any) -> list[Any]:
    return [below for below in node.below() if below.leaf]


def test_is_a_vma_in_the_leaf_of_others_found() -> None:
    process, root = tree_of(20)
    left, right = root.slots[:2]
    place = next(place for place, vma in enumerate(right.slots) if vma is not None)
    left.slots[-1], right.slots[place] = right.slots[place], left.slots[-1]
    finds(process, "structures agree", "the leaves hold 20 VMAs, and these are not the 20 of the list")


def test_is_a_leaf_with_too_many_ranges_found() -> None:
    process, root = tree_of(40)
    first, *others, last = root.slots
    for leaf in others:
        first.slots += leaf.slots
        first.ends += leaf.ends
    root.slots, root.ends = [first, last], [first.ends[-1], last.ends[-1]]
    finds(process, "structures agree", rf"the maple node at 0x0 has {len(first.slots)} slots, not 6 to 16")


def test_is_a_node_with_too_many_children_found() -> None:
    process, root = tree_of(80)
    leaves = leaves_of(root)
    root.slots, root.ends = leaves, [leaf.ends[-1] for leaf in leaves]
    assert len(leaves) > 10
    finds(process, "structures agree", f"the maple node at 0x0 has {len(leaves)} slots, not 2 to 10")


def test_are_leaves_at_different_depths_found() -> None:
    process, root = tree_of(50)
    below = root.entries[:4]
    root.slots[:4], root.ends[:4] = [type(root)(False, below)], [below[-1][1]]
    finds(process, "structures agree", r"leaves lie \[1, 2\] nodes deep")


@pytest.mark.parametrize(
    "name", ["map_count", "total_vm", "data_vm", "exec_vm", "pgtables_bytes", "anon_pages"]
)
def test_is_a_counter_that_differs_from_a_recount_found(name: str) -> None:
    process = used("linux")
    value = getattr(process.space.stat, name)
    setattr(process.space.stat, name, value + 1)
    finds(process, "counters equal a recount", f"{name} is {value + 1}, counted again {value}")


def test_what_do_the_counters_of_a_linux_process_say() -> None:
    """16 pages in two VMAs, four of them touched; one table of levels 1, 1, 2 and 3. Then r, x and none."""
    process = used("linux")
    stat = process.space.stat
    assert [stat.map_count, stat.total_vm, stat.data_vm, stat.exec_vm] == [2, 16, 16, 0]
    assert [stat.pgtables_bytes, stat.anon_pages] == [4 * 4096, 4]
    process.do(("mprotect", BASE, 4, READ), ("mprotect", BASE + 4, 2, READ | EXECUTE))
    assert [stat.map_count, stat.total_vm, stat.data_vm, stat.exec_vm] == [4, 16, 10, 2]
    process.do(("munmap", BASE + 2, LEAF))
    assert [stat.map_count, stat.total_vm, stat.data_vm, stat.exec_vm] == [2, 8, 6, 0]
    assert stat.anon_pages == 2


# -- TLBs ------------------------------------------------------------------------------------------------

TLB = "a TLB agrees with the table"


@EVERY_KIND
def test_is_a_translation_to_another_frame_found(kind: str) -> None:
    process = used(kind)
    process.cpus[1].tlb.fill(BASE, 99, writable=False)
    finds(process, TLB, f"cpu 1 can still translate page {BASE:#x} to frame 99")


@EVERY_KIND
def test_is_a_translation_of_a_page_that_is_gone_found(kind: str) -> None:
    process = used(kind)
    process.cpus[1].tlb.fill(BASE + 5, 99, writable=False)
    finds(process, TLB, f"cpu 1 can still translate page {BASE + 5:#x} to frame 99")
    process.cpus[1].tlb.stale = True  # it flushes before it runs again
    process.verify()


@EVERY_KIND
def test_is_a_right_to_write_that_the_table_has_not_found(kind: str) -> None:
    process = used(kind)
    process.do(("mprotect", BASE, 8, READ))
    process.cpus[0].tlb.fill(BASE, page_at(process).frame, writable=True)
    finds(process, TLB, f"cpu 0 can still write page {BASE:#x}, which the table forbids")


# -- owners of frames ------------------------------------------------------------------------------------

OWNERS = "frames have their owners"


@EVERY_KIND
def test_is_a_frame_that_nobody_has_found(kind: str) -> None:
    process = used(kind)
    frame = page_at(process).frame
    leaf(process).set(0, Status(READ_WRITE) if kind != "linux" else None)
    flush(process)
    if kind == "linux":
        process.space.stat.anon_pages -= 1
        for batch in lru(process)._batches:
            if frame in batch:
                batch.remove(frame)
    finds(process, OWNERS, rf"frame {frame} is in use \(\d\) and nobody has it: leaked")


@EVERY_KIND
def test_is_a_free_frame_that_a_page_still_has_found(kind: str) -> None:
    process = used(kind)
    frame = page_at(process).frame
    del memory(process).in_use.refcount[frame]
    if kind == "linux":
        lru(process)._on_lru.discard(frame)
    finds(process, OWNERS, f"frame {frame} is free and belongs to page {BASE:#x}")


@EVERY_KIND
def test_is_a_count_of_owners_that_is_too_high_found(kind: str) -> None:
    process = used(kind)
    table = leaf(process)
    memory(process).in_use.get(table.frame)
    what = f"frame {table.frame} counts 2 owners and belongs to the L1 table of page {BASE:#x}$"
    finds(process, OWNERS, what)


@EVERY_KIND
def test_is_a_table_whose_frame_is_also_a_page_found(kind: str) -> None:
    process = used(kind)
    flush(process)
    page_at(process, BASE + 3).frame = leaf(process).frame
    finds(process, OWNERS, f"belongs to page {BASE + 3:#x} and the L1 table of page {BASE:#x}")


@EVERY_KIND
@pytest.mark.parametrize("copied", [True, False])
def test_may_a_frame_be_mapped_twice_if_a_write_copies_it(kind: str, copied: bool) -> None:
    process = used(kind)
    shared = page_at(process, BASE + 3)
    flush(process)
    shared.copy_on_write = copied
    leaf(process).set(4, Present(shared.frame, READ_WRITE, copy_on_write=copied))
    memory(process).in_use.get(shared.frame)
    if kind == "linux":
        process.space.stat.anon_pages += 1
    if copied:
        process.verify()
        assert memory(process).in_use.put(shared.frame) is False
        finds(process, OWNERS, rf"frame {shared.frame} counts \d owners? and belongs to page")
    else:
        what = rf"frame {shared.frame} is mapped 2 times and writable at page {BASE + 3:#x}"
        finds(process, "no shared frame is writable", what)


def test_is_a_page_that_fell_out_of_its_lru_batch_found() -> None:
    process = used("linux", changes={"limits": {"lru_batch": 64}})
    frame = page_at(process).frame
    lru(process)._batches[0].remove(frame)
    finds(process, OWNERS, f"frame {frame} counts 2 owners and belongs to page {BASE:#x}$")


@CORTENMM
def test_is_a_page_that_fell_out_of_its_pool_found(kind: str) -> None:
    process = used(kind)
    pool = process.kernel.table_pool[0]  # type: ignore[attr-defined]
    frame = pool.pop()
    finds(process, OWNERS, f"frame {frame} is in use .* leaked")
    pool += [frame, frame]
    twice = "the table pool of cpu 0x0 and the table pool of cpu 0x0"
    finds(process, OWNERS, f"frame {frame} counts 1 owners and belongs to {twice}")


@CORTENMM
def test_is_a_lost_record_of_a_lazy_flush_found(kind: str) -> None:
    process = used(kind)
    frame = page_at(process).frame
    process.do(("munmap", BASE, 1))
    process.verify()
    assert Reference(frame, "a flush of page", BASE) in list(process.space.deferred())
    for cpu in process.cpus:
        cpu.tlb.flush()
        process.space.tlb._records[cpu].clear()
    finds(process, OWNERS, rf"frame {frame} is in use \(1\) and nobody has it: leaked")


def test_is_a_lost_callback_of_a_grace_period_found() -> None:
    process = used("adv")
    second = leaf(process, BASE + LEAF).frame
    process.do(("munmap", BASE, 2 * LEAF))
    kernel: Any = process.kernel
    waits = "a grace period for the table of page"
    assert Reference(second, waits, BASE + LEAF) in list(kernel.references())
    kernel.rcu._current.clear()
    kernel.rcu._next.clear()
    finds(process, OWNERS, rf"frame {second} is in use \(1\) and nobody has it: leaked")


# -- free lists ------------------------------------------------------------------------------------------

WHOLE = "free lists are whole"
LOST = "no frame is lost"


def buddy_with(process: Process, order: int) -> tuple[str, Any]:
    """A buddy with a free block of 2**order."""
    for pool in memory(process).buddies():
        if pool.buddy.blocks(order):
            return pool.name, pool.buddy
    raise AssertionError(f"no free block of {1 << order}")


@EVERY_KIND
def test_is_a_wrong_count_of_free_frames_found(kind: str) -> None:
    process = used(kind)
    name, buddy = buddy_with(process, 9)
    free = buddy.free_frames
    buddy.free_frames += 1
    finds(process, WHOLE, f"{name} counts {free + 1} free frames and has {free}")


@EVERY_KIND
def test_is_a_block_that_is_not_aligned_found(kind: str) -> None:
    process = used(kind)
    name, buddy = buddy_with(process, 9)
    first, _ = buddy._free[9].popitem()
    buddy._free[9][first + 1] = None
    finds(process, WHOLE, f"{name} has no place for a block of 512 at frame {first + 1}")


@EVERY_KIND
def test_are_buddies_that_were_not_merged_found(kind: str) -> None:
    process = used(kind)
    name, buddy = buddy_with(process, 9)
    first, _ = buddy._free[9].popitem()
    buddy._free[8] |= {first: None, first + 256: None}
    finds(process, WHOLE, f"{name}: frame {first} and its buddy are free blocks of 256")


def test_is_a_frame_on_the_list_of_another_node_found() -> None:
    process = used("linux")
    near, far = memory(process).zones
    far.pcp[0].append(near.buddy.allocate())
    finds(process, WHOLE, "the list of cpu 0 for node 1 has no place for a block of 1 at frame")


@EVERY_KIND
def test_is_a_free_frame_that_is_in_use_found(kind: str) -> None:
    process = used(kind)
    cached(process).append(page_at(process).frame)
    finds(process, LOST, f"frame {page_at(process).frame} is in two blocks that are free or in use")


@EVERY_KIND
def test_is_a_frame_that_is_in_two_free_lists_found(kind: str) -> None:
    process = used(kind)
    _, buddy = buddy_with(process, 9)
    first = next(iter(buddy.blocks(9)))
    cached(process).append(first + 5)
    finds(process, LOST, f"frame {first + 5} is in two blocks")


@EVERY_KIND
def test_is_a_frame_that_fell_out_of_a_free_list_found(kind: str) -> None:
    process = used(kind)
    all_of_them = sum(pool.buddy.managed for pool in memory(process).buddies())
    cached(process).pop()
    finds(process, LOST, f"{all_of_them - 1} frames are free or in use, of {all_of_them} that there are")


@EVERY_KIND
def test_is_a_frame_that_was_never_taken_found(kind: str) -> None:
    process = used(kind)
    fresh = next(pool.buddy.fresh for pool in memory(process).buddies() if pool.buddy.fresh)
    cached(process).append(fresh[1 << MAX_ORDER])
    finds(process, LOST, f"frame {fresh[1 << MAX_ORDER]} is free or in use and was never taken")


def cached(process: Process) -> list[int]:
    """A list of single free frames, with one from the buddy if all are empty."""
    for free in memory(process).free_lists():
        if free.order == 0 and free.blocks:
            return free.blocks  # type: ignore[no-any-return]
    zone = memory(process).zones[0]
    zone.pcp[0].append(zone.buddy.allocate())
    return zone.pcp[0]  # type: ignore[no-any-return]


# -- more than one process, and blocks of a caller -------------------------------------------------------


@EVERY_KIND
def test_are_the_frames_of_two_processes_counted_together(kind: str) -> None:
    process = used(kind)
    other = process.kernel.new_process(process.cpus[1])
    other.activate(process.cpus[1])
    process.cpus[1].tlb.flush()

    def touches(cpu: Cpu) -> Steps[None]:
        yield from other.perform(cpu, Mmap(8, BASE))
        for page in range(BASE, BASE + 8):
            yield from other.access(cpu, page)
        yield from other.perform(cpu, Mprotect(BASE, 8, READ))

    run(process.machine, {1: touches})
    loaded = {process.space: process.cpus[:1], other: process.cpus[1:]}
    process.kernel.verify(loaded)
    page_at(process).frame, mine = other.root.walk(BASE).frame, page_at(process).frame  # type: ignore[union-attr]
    process.cpus[0].tlb.flush()
    with pytest.raises(BrokenInvariant, match=rf"mapped 2 times and writable at page {BASE:#x}"):
        process.kernel.verify(loaded)
    page_at(process).frame = mine
    with pytest.raises(BrokenInvariant, match=r"is in use .* and nobody has it: leaked"):
        process.kernel.verify({process.space: process.cpus[:1]})


@pytest.mark.parametrize("spec", [design("linux"), load_spec("design", "llfree").spec])
def test_are_blocks_that_somebody_has_asked_for_his(spec: Any) -> None:
    machine = small_machine(online=1)
    kernel = build(machine, spec)
    taken: list[int] = []

    def takes(cpu: Cpu) -> Steps[None]:
        for order in (0, 3, 9):
            frame = yield from kernel.perform(cpu, AllocatePages(order))
            taken.append(frame)

    run(machine, {0: takes})
    kernel.verify({}, [Reference(frame, "a block of thread") for frame in taken])
    with pytest.raises(BrokenInvariant, match=rf"frame {min(taken)} is in use \(1\) and nobody has it"):
        kernel.verify({})
    run(machine, {0: lambda cpu: kernel.perform(cpu, FreePages(taken[1], 3))})
    kernel.verify({}, [Reference(frame, "a block of thread") for frame in (taken[0], taken[2])])
