"""What must hold at the end of every run: the invariants of page tables, mappings, counters, frames and TLBs.

Each function holds one invariant, its docstring says which, and the error begins with it. All of them look at
a kernel whose threads have ended: nobody is in the middle of anything, and what has been put off (lazy
flushes, grace periods) still owns the frames that it is about. They read and change nothing.

    a space     its table is walked once; mappings are asked for and laid beside the entries
    a kernel    the frames of all its spaces and of itself are counted again, and the free lists laid beside
    a cpu       its TLB is held against the table of the space that it has loaded

The cost is in proportion to entries, mappings and free blocks. What these checks cannot see: a wrong state
that was mended before the end, and rights in a design whose entries are the only record of them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import chain
from operator import attrgetter, or_
from typing import TYPE_CHECKING, Final

from sim.errors import ModelError
from sim.mm.end_state import Kept, Mapped, Walk
from sim.mm.entries import Kind, Present, Status, rights_text
from sim.mm.frame_table import FreeList, PhysicalMemory, Pool, Reference
from sim.mm.frames import MAX_ORDER
from sim.mm.page_table import PAGES_PER_ENTRY, SLOTS, PageTablePage, Subtree
from sim.mm.present_run import Alike
from sim.mm.runs import Run, Runs, differing

if TYPE_CHECKING:
    from sim.hardware import Cpu
    from sim.mm.address_space import AddressSpace

NO_FRAME: Final = -1
"""The frame of a root table: it came with the process, from no allocator."""

_SHOWN: Final = 4
"""How many owners of a frame a message names."""


class BrokenInvariant(ModelError):
    """The end state breaks *invariant*, and the message says where."""

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(invariant, what)
        self.invariant = invariant
        self.what = what

    def __str__(self) -> str:
        return f"{self.invariant}: {self.what}"


def check(
    memory: PhysicalMemory | None,
    loaded: Mapping[AddressSpace, Sequence[Cpu]],
    references: Iterable[Reference] = (),
) -> None:
    """Hold one kernel against all invariants. Raises `BrokenInvariant` at the first that does not hold.

    *memory* is its allocator, None where frames are numbers that nobody allocates. *loaded* are all its
    address spaces, each with the cpus that have it loaded. *references* are the frames that the kernel's own
    pools have, and those that somebody outside has asked it for.
    """
    walks: list[Walk] = []
    maps: list[list[Mapped]] = []
    waiting: list[Reference] = []
    repeating: set[int] = set()
    everybody = list(dict.fromkeys(cpu for cpus in loaded.values() for cpu in cpus))
    for space, cpus in loaded.items():
        walk = tables_agree(space)
        mappings = mappings_are_disjoint(space)
        entries_lie_in_mappings(walk, mappings)
        counters_equal_a_recount(space.counters(walk))
        structures_agree(space.contradictions(walk, mappings))
        for cpu in cpus:
            tlb_agrees_with_the_table(space, cpu)
        for cpu in everybody:
            if cpu not in cpus and (asid := space.asid_left_on(cpu)) is not None:
                tlb_agrees_with_the_table(space, cpu, asid)
        walks.append(walk)
        maps.append(mappings)
        waiting += space.deferred()
        if not space.entries_own:
            repeating.add(len(walks) - 1)
    walks = each_page_once(walks)
    no_shared_frame_is_writable(walks, maps)
    owners = [*waiting, *references]
    owning = [Walk(walk.tables, []) if number in repeating else walk for number, walk in enumerate(walks)]
    if memory is None:
        frames_have_one_owner(owning, owners)
        return
    structures_agree(memory.contradictions())
    owners += memory.references()
    frames_have_their_owners(memory, owning, owners)
    free_lists_are_whole(memory)
    no_frame_is_lost(memory)


# -- a space --------------------------------------------------------------------------------------------


def tables_fit_their_place(root: PageTablePage) -> Walk:
    """Tables fit their place: level and first page, no stray one, and as many entries as they count.

    A slot has one thing in it, and a present entry the size that its table's level gives it. A page that is
    swapped out has a slot of its own, so its entry stands for one page. Returns the walk.
    """
    invariant = "tables fit their place"
    tables: list[PageTablePage] = []
    present: list[tuple[int, Present]] = []
    alike: list[Alike] = []
    shared: list[PageTablePage] = []

    def visit(table: PageTablePage, level: int, base: int) -> None:
        if (table.level, table.base) != (level, base):
            raise BrokenInvariant(invariant, f"{table!r} is linked as L{level} table of page {base:#x}")
        if table.stray:
            raise BrokenInvariant(invariant, f"{table!r} is linked but stray")
        if table.fill is not None and table.fill.kind is Kind.SWAPPED:
            raise BrokenInvariant(invariant, f"{table!r} is filled with one page: {table.fill}")
        tables.append(table)
        if table.sharing is not None:
            shared.append(table)
        entries, span = table.entries, PAGES_PER_ENTRY[level]
        kinds = Counter(map(type, entries))
        filled = SLOTS - kinds[type(None)]
        if table.present != filled:
            raise BrokenInvariant(invariant, f"{table!r} counts {table.present} entries and has {filled}")
        if (run := table.run) is not None:
            alike.extend(run.alike(base))
        if level == 1 and not kinds[PageTablePage]:
            if not kinds[Present]:
                return
            pages = [(page, entry) for page, entry in enumerate(entries, base) if type(entry) is Present]
            for page, entry in pages:
                fits(table, page, entry)
            present.extend(pages)
            return
        for slot, child in enumerate(entries):
            if child is None:
                continue
            page = base + slot * span
            if isinstance(child, PageTablePage):
                if level == 1:
                    raise BrokenInvariant(invariant, f"{table!r} is a leaf with a child at page {page:#x}")
                visit(child, level - 1, page)
            elif isinstance(child, Present):
                fits(table, page, child)
                present.append((page, child))
            elif isinstance(child, Subtree):
                if child.level != level:
                    what = f"{table!r} refers to an object's tables at page {page:#x}, as L{child.level} may"
                    raise BrokenInvariant(invariant, what)
            elif isinstance(child, Status) and child.kind is Kind.SWAPPED:
                raise BrokenInvariant(invariant, f"{table!r} has one page for {span} at {page:#x}: {child}")

    def fits(table: PageTablePage, page: int, entry: Present) -> None:
        if entry.level != table.level:
            size = PAGES_PER_ENTRY[entry.level]
            raise BrokenInvariant(invariant, f"{table!r} has an entry for {size} pages at {page:#x}: {entry}")

    visit(root, root.level, 0)
    return Walk(tables, present, alike, shared)


def tables_agree(space: AddressSpace) -> Walk:
    """Each table of *space* fits its place, and of a page that several have all say the same frame.

    Their rights may differ: what a table does not have yet, a fault brings. Returns one walk over all of
    them, in which a page stands once, with the rights of all together.
    """
    roots = space.roots()
    if len(roots) == 1:
        return tables_fit_their_place(roots[0])
    tables: list[PageTablePage] = []
    there: dict[int, Present] = {}
    alike: list[Alike] = []
    for root in roots:
        walk = tables_fit_their_place(root)
        tables += walk.tables
        alike += walk.alike
        for page, entry in walk.present:
            known = there.setdefault(page, entry)
            if (known.frame, known.level) != (entry.frame, entry.level):
                what = f"page {page:#x} is {known} in one table and {entry} in another"
                raise BrokenInvariant("the tables of a space agree", what)
            if known is not entry:
                cow = known.copy_on_write and entry.copy_on_write
                there[page] = Present(known.frame, known.rights | entry.rights, known.level, cow)
    return Walk(tables, sorted(there.items(), key=lambda each: each[0]), alike)


def mappings_are_disjoint(space: AddressSpace) -> list[Mapped]:
    """Mappings are disjoint and in order, and what the space says of a page is what they say of it.

    Returns the mappings.
    """
    invariant = "mappings are disjoint"
    mappings = list(space.mappings())
    end = 0
    for mapping in mappings:
        if mapping.end <= mapping.start:
            raise BrokenInvariant(invariant, f"{mapping} is empty")
        if mapping.start < end:
            raise BrokenInvariant(invariant, f"{mapping} begins below {end:#x}, where another ends")
        if mapping.start > end:
            for page in (end, mapping.start - 1):
                if space.status(page) is not None:
                    raise BrokenInvariant(invariant, f"page {page:#x} is mapped and in no mapping")
        for page in (mapping.start, mapping.end - 1):
            rights = space.status(page)
            if rights != mapping.rights:
                says = "no rights" if rights is None else rights_text(rights)
                raise BrokenInvariant(invariant, f"page {page:#x} of {mapping} has {says}")
        end = mapping.end
    if space.status(end) is not None:
        raise BrokenInvariant(invariant, f"page {end:#x} is mapped and in no mapping")
    return mappings


def entries_lie_in_mappings(walk: Walk, mappings: Sequence[Mapped]) -> None:
    """No present entry outside a mapping, none with more rights than its mapping.

    A page larger than a mapping may reach over several that lie side by side.
    """
    _lie_in_mappings(((page, PAGES_PER_ENTRY[entry.level], entry) for page, entry in walk.present), mappings)
    _lie_in_mappings(((each.page, len(each.frames), each.entry) for each in walk.alike), mappings)


def _lie_in_mappings(entries: Iterable[tuple[int, int, Present]], mappings: Iterable[Mapped]) -> None:
    """The same of *entries* that say something of so many pages from a first one on."""
    outside, rights = "no present entry outside a mapping", "no entry with more rights than its mapping"
    ahead = iter(mappings)
    here = next(ahead, None)
    for first, pages, entry in entries:
        page, end = first, first + pages
        while page < end:
            while here is not None and here.end <= page:
                here = next(ahead, None)
            if here is None or page < here.start:
                raise BrokenInvariant(
                    outside, f"page {page:#x} is present ({entry}) and nothing is mapped there"
                )
            if entry.rights & ~here.rights:
                raise BrokenInvariant(rights, f"page {page:#x} is {entry}, and its mapping is {here}")
            page = min(end, here.end)


def counters_equal_a_recount(counters: Iterable[Kept]) -> None:
    """Counters equal a recount."""
    for kept in counters:
        if kept.value != kept.recount:
            raise BrokenInvariant(
                "counters equal a recount", f"{kept.name} is {kept.value}, counted again {kept.recount}"
            )


def structures_agree(contradictions: Iterable[str]) -> None:
    """What only one design has (a tree of VMAs, an address allocator, an LRU) agrees with the rest."""
    for contradiction in contradictions:
        raise BrokenInvariant("structures agree", contradiction)


def tlb_agrees_with_the_table(space: AddressSpace, cpu: Cpu, asid: int | None = None) -> None:
    """A TLB agrees with the table: same frame, no right to write that the table has not.

    *asid* is the number under which *cpu* still has entries of *space*, None if it has loaded it. A cpu that
    flushes before its thread runs again is let off, and so is a translation of which the space knows that it
    may be stale.
    """
    invariant = "a TLB agrees with the table"
    if asid is None and cpu.tlb.stale:
        return
    table = space.table_of(cpu)
    for page, translation in cpu.tlb.frames(asid).items():
        there, frame = table.allowed(page), translation.frame
        if there is None or there.frame_of(page) != frame:
            if not space.may_be_stale(page, frame):
                what = f"{cpu} can still translate page {page:#x} to frame {frame}"
                raise BrokenInvariant(invariant, what)
        elif translation.writable and not there.writable and not space.may_be_stale(page, frame):
            raise BrokenInvariant(invariant, f"{cpu} can still write page {page:#x}, which the table forbids")


# -- frames ---------------------------------------------------------------------------------------------


def each_page_once(walks: Sequence[Walk]) -> list[Walk]:
    """A table that several have is guarded: no entry above it lets a write through.

    Returns the walks, where the entries of such a table stand in the first one only, if the table is the
    owner of its pages.
    """
    seen: set[PageTablePage] = set()
    found: list[Walk] = []
    for walk in walks:
        again = [table for table in walk.shared if table in seen]
        for table in again:
            if table.sharing is not None and not table.sharing.guarded:
                what = f"{table!r} is in the tables of two processes, and may be written through"
                raise BrokenInvariant("a table that several have is guarded", what)
        seen.update(walk.shared)
        found.append(walk.without([each for each in again if each.sharing and not each.sharing.counted]))
    return found


def no_shared_frame_is_writable(walks: Sequence[Walk], maps: Sequence[Sequence[Mapped]]) -> None:
    """A frame that several entries map is copied on a write: none of them is writable, nor the zero page.

    But for memory that is mapped to be shared: *maps* are the mappings of each space, in order.
    """
    entries = [entry for walk in walks for _, entry in walk.present]
    times = Counter(entry.frame for entry in entries if not entry.special)
    _none_alike_is_shared([each for walk in walks for each in walk.alike], times)
    huge = [entry for entry in entries if entry.level > 1]
    if len(times) == len(entries) and not huge:
        return
    for entry in huge:
        if not entry.special:
            times.update(range(entry.frame + 1, entry.frame + entry.pages))
    for walk, mappings in zip(walks, maps, strict=True):
        for page, entry in walk.present:
            if not entry.writable:
                continue
            most = times[entry.frame]
            if entry.level > 1:
                most = max(times[entry.frame + other] for other in range(entry.pages))
            if entry.special or most > 1:
                here = mappings[bisect_right(mappings, page, key=attrgetter("start")) - 1]
                if here.shared:
                    continue
                what = "the zero page" if entry.special else f"frame {entry.frame}"
                mapped = "" if entry.special else f"mapped {most} times and "
                raise BrokenInvariant(
                    "no shared frame is writable", f"{what} is {mapped}writable at page {page:#x}"
                )


def _none_alike_is_shared(alike: list[Alike], times: Mapping[int, int]) -> None:
    """The same of entries made in bulk, which are private; others map a frame so many *times*."""
    if not alike:
        return
    alike.sort(key=lambda each: each.frames.start)
    shared: list[int] = []
    mapped = writable = 0
    for each in alike:
        first, end = each.frames.start, each.frames.stop
        if first < (mapped if each.entry.writable else writable):
            shared.append(first)
        mapped = max(mapped, end)
        writable = max(writable, end) if each.entry.writable else writable
    starts = [each.frames.start for each in alike]
    for frame in times:
        at = bisect_right(starts, frame) - 1
        if at >= 0 and frame in alike[at].frames and alike[at].entry.writable:
            shared.append(frame)
    for frame in shared:
        raise BrokenInvariant("no shared frame is writable", f"frame {frame} is mapped twice and writable")


def frames_have_one_owner(walks: Iterable[Walk], others: Sequence[Reference]) -> None:
    """Where nobody allocates frames, each has one owner."""
    for frame, times in _count(walks, others)[0].items():
        if times > 1:
            owners = _owners_of(frame, walks, others)
            raise BrokenInvariant("a frame has one owner", f"frame {frame} belongs to {owners}")


def frames_have_their_owners(
    memory: PhysicalMemory, walks: Iterable[Walk], others: Sequence[Reference]
) -> None:
    """No frame is leaked or owned by nobody: its count is that of the places which have it."""
    invariant = "frames have their owners"
    (found, found_runs), refcount = _count(walks, others), memory.in_use.refcount
    counted_runs = memory.in_use.runs.copy()
    if memory.in_use.orders:
        for frame in sorted(found.keys() - refcount.keys()):
            if (head := memory.in_use.head(frame)) != frame:
                found[head] += found.pop(frame)
    if found == refcount and list(found_runs) == list(counted_runs):
        return
    for frame in sorted(found.keys() | refcount.keys() | differing(found_runs, counted_runs)):
        times = found.get(frame, 0) + (found_runs.value(frame) or 0)
        counted = memory.in_use.owners(frame)
        if times == counted:
            continue
        owners = _owners_of(frame, walks, others)
        if not times:
            raise BrokenInvariant(invariant, f"frame {frame} is in use ({counted}) and nobody has it: leaked")
        if not counted:
            raise BrokenInvariant(invariant, f"frame {frame} is free and belongs to {owners}")
        raise BrokenInvariant(invariant, f"frame {frame} counts {counted} owners and belongs to {owners}")


def free_lists_are_whole(memory: PhysicalMemory) -> None:
    """Free lists are whole: blocks are aligned, in their own part of the memory, merged, and counted."""
    for pool in memory.buddies():
        _buddy_is_whole(pool)
    for free in memory.free_lists():
        _blocks_fit(free)


def no_frame_is_lost(memory: PhysicalMemory) -> None:
    """Each frame is free once or in use, never both, and together they are all frames that there are."""
    invariant = "no frame is lost"
    orders = memory.in_use.orders
    pools = list(memory.buddies())
    blocks = [frame << 4 | orders.get(frame, 0) for frame in memory.in_use.refcount]
    for taken in memory.in_use.runs:
        blocks += [first << 4 | order for first, order in _pieces(taken)]
    for pool in pools:
        for order in range(MAX_ORDER + 1):
            blocks += [frame << 4 | order for frame in pool.buddy.blocks(order)]
    for free in memory.free_lists():
        blocks += [frame << 4 | free.order for frame in free.blocks]
    blocks.sort()
    end = frames = 0
    for block in blocks:
        first, size = block >> 4, 1 << (block & 15)
        if first < end:
            raise BrokenInvariant(invariant, f"frame {first} is in two blocks that are free or in use")
        end = first + size
        frames += size
    for run in (pool.buddy.fresh for pool in pools):
        following = bisect_left(blocks, run.start << 4)
        if run and following < len(blocks) and blocks[following] >> 4 in run:
            raise BrokenInvariant(
                invariant, f"frame {blocks[following] >> 4} is free or in use and was never taken"
            )
        frames += len(run)
    managed = sum(pool.buddy.managed for pool in pools)
    if frames != managed:
        raise BrokenInvariant(invariant, f"{frames} frames are free or in use, of {managed} that there are")


def _pieces(run: Run) -> Iterator[tuple[int, int]]:
    """*run* as a few pieces of 2**order frames."""
    first = run.start
    while first < run.end:
        order = min((run.end - first).bit_length() - 1, 15)
        yield first, order
        first += 1 << order


def _buddy_is_whole(pool: Pool) -> None:
    invariant, buddy = "free lists are whole", pool.buddy
    frames = len(buddy.fresh)
    for order in range(MAX_ORDER + 1):
        blocks = buddy.blocks(order)
        frames += len(blocks) << order
        _blocks_fit(FreeList(pool.name, pool.memory, order, blocks))
        if order < MAX_ORDER:
            for first in blocks:
                if first ^ 1 << order in blocks:
                    raise BrokenInvariant(
                        invariant, f"{pool.name}: frame {first} and its buddy are free blocks of {1 << order}"
                    )
    if frames != buddy.free_frames:
        raise BrokenInvariant(
            invariant, f"{pool.name} counts {buddy.free_frames} free frames and has {frames}"
        )


def _blocks_fit(free: FreeList) -> None:
    blocks, memory, size = free.blocks, free.memory, 1 << free.order
    if not blocks or (
        memory.start <= min(blocks)
        and max(blocks) <= memory.stop - size
        and not reduce(or_, blocks) & size - 1
    ):
        return
    for first in blocks:
        if first & size - 1 or not memory.start <= first <= memory.stop - size:
            raise BrokenInvariant(
                "free lists are whole", f"{free.name} has no place for a block of {size} at frame {first}"
            )


def _count(walks: Iterable[Walk], others: Iterable[Reference]) -> tuple[Counter[int], Runs]:
    """How many places have each frame: entries made in bulk apart, what they have counts in addition."""
    frames: Counter[int] = Counter()
    runs = Runs()
    for walk in walks:
        for each in walk.alike:
            runs.count(each.frames.start, each.frames.stop)
        frames.update([entry.frame for _, entry in walk.present if not entry.special])
        frames.update([table.frame for table in walk.tables])
    for reference in others:
        if reference.frames > 1:
            runs.count(reference.frame, reference.frame + reference.frames)
        else:
            frames[reference.frame] += 1
    del frames[NO_FRAME]
    return frames, runs


def _owners_of(frame: int, walks: Iterable[Walk], others: Iterable[Reference]) -> str:
    """Who has *frame*, for a message."""
    here = [
        Reference(frame, each.owner, each.number + frame - each.frame)
        for each in chain(_references(walks), others)
        if each.frame <= frame < each.frame + each.frames
    ]
    more = [f"{len(here) - _SHOWN} more"] if len(here) > _SHOWN else []
    return " and ".join([*map(str, here[:_SHOWN]), *more])


def _references(walks: Iterable[Walk]) -> Iterator[Reference]:
    for walk in walks:
        for page, entry in walk.present:
            yield Reference(entry.frame, "page", page)
        for each in walk.alike:
            yield Reference(each.frames.start, "page", each.page, len(each.frames))
        for table in walk.tables:
            yield Reference(table.frame, f"the L{table.level} table of page", table.base)
