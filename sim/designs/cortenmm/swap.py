"""Swapping (SOSP'25, sections 3.3 and 4.5: the status `Swapped`, the reverse map; the artifact has neither).

    out   each space of the page's family, a transaction each: is the page there, not locked, not used since?
          a slot, into the cache, the mark says the slot | flush + acks || write it, the frame is free
    in    allocate || the mark says a slot || read it || the same mark? map the page

Who wants a frame and finds none takes pages away himself, outside of transactions. Which ones the paper does
not say: here a hand goes round over the descriptors of frames, and a page that was used since it last came by
stays (second chance). What it finds side by side in one leaf goes in one transaction and with one flush. A
page that a fork has left to two, and mremap has moved in one of them, is not found there, and stays.

A page is in the cache until it is written, and while somebody has it and another has the slot: then all
entries are copied on a write, so what is in the slot stays true. A page of one owner leaves it when it comes
back.

Left out: drives, as who waits for one sleeps; shared memory and files; reading ahead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from sim.designs.cortenmm.family import Family
from sim.designs.cortenmm.file_fault import copy_into
from sim.designs.cortenmm.marks import beside, mark_of, slots_of, swapped
from sim.engine import Activity, Steps
from sim.engine.costs import at_clock
from sim.hardware import CacheLine, Cpu
from sim.mm import (
    LOCK_SWAP,
    SLOTS,
    SWAP,
    AddressSpace,
    OutOfMemory,
    Present,
    Reference,
    Status,
    SwapDevice,
    SwapSlots,
    slot_of,
)
from sim.sync import QueuedSpinLock

if TYPE_CHECKING:
    from sim.designs.cortenmm.cursor import Cursor
    from sim.designs.cortenmm.kernel import CortenKernel
    from sim.designs.cortenmm.mm import CortenMm
    from sim.designs.cortenmm.spec import SwapSpec

RECLAIM: Final = Activity("reclaim")
LOCK_RECLAIM: Final = Activity("lock: reclaim")

Pages: TypeAlias = Sequence[tuple[int, int]]
"""Pages of one leaf, each with its frame."""

_NODE_SLOTS: Final = 64
"""Slots of one node of the cache's index."""


class Origin(NamedTuple):
    """What the descriptor of a frame says of a private page."""

    family: Family
    page: int


class Swap:
    """The slots, the device, the cache and the hand.

    *slot_of* has the cached frames, *frame_of* is the reverse, *origins* are the descriptors of private
    pages.
    """

    __slots__ = (
        "_busy",
        "_hand",
        "_hand_lock",
        "_index_lock",
        "_kernel",
        "_lines",
        "_reclaiming",
        "_spec",
        "_true",
        "cost",
        "device",
        "frame_of",
        "origins",
        "slot_of",
        "slots",
    )

    def __init__(self, kernel: CortenKernel, spec: SwapSpec) -> None:
        machine = kernel.machine
        self._kernel = kernel
        self._spec = spec
        self.cost = at_clock(spec.costs, machine.spec.kernel_clock)
        self.slots = SwapSlots(machine, spec, self.cost, kernel.nodes)
        self.device = SwapDevice(machine, spec)
        self.frame_of: dict[int, int] = {}
        self.slot_of: dict[int, int] = {}
        self.origins: dict[int, Origin] = {}
        self._lines: dict[int, CacheLine] = {}
        self._busy: set[int] = set()
        """Frames that somebody is just taking away."""
        self._true: set[int] = set()
        """Slots that have what is in their cached frames."""
        self._reclaiming: set[object] = set()
        self._hand = 0
        self._hand_lock = QueuedSpinLock(kernel.nodes, machine.line("hand of reclaim", 0), LOCK_RECLAIM)
        self._index_lock = QueuedSpinLock(kernel.nodes, machine.line("swap cache", 0), LOCK_SWAP)

    # -- the reverse map ------------------------------------------------------------------------------------

    def new_family(self, cpu: Cpu, space: CortenMm) -> Family:
        """That of a new program."""
        return Family(self._kernel.machine, self._kernel.nodes, cpu, space)

    def join(self, cpu: Cpu, space: CortenMm, family: Family) -> Steps[None]:
        """A fork has made *space* of another one of *family*."""
        yield from family.lock.acquire(cpu)
        cpu.work(self.cost.link, RECLAIM)
        family.spaces[space] = None
        space.family = family
        yield from family.lock.release(cpu)

    def leave(self, cpu: Cpu, space: CortenMm) -> Steps[None]:
        """*space* has ended."""
        family = space.family
        assert family is not None
        yield from family.lock.acquire(cpu)
        cpu.work(self.cost.link, RECLAIM)
        family.spaces.pop(space, None)
        yield from family.lock.release(cpu)

    def maps(self, space: CortenMm, page: int, frame: int) -> None:
        """*frame* is a private page at *page* of *space*. Its time is in the step that maps it."""
        assert space.family is not None
        self.origins[frame] = Origin(space.family, page)

    def forget(self, frame: int) -> None:
        """*frame* is free."""
        self.origins.pop(frame, None)

    # -- the cache ------------------------------------------------------------------------------------------

    def find(self, cpu: Cpu, slot: int) -> Steps[int | None]:
        """The frame that the cache has of *slot*; the caller is one of its owners."""
        yield from self._node(slot).read(cpu, SWAP)
        if slot not in self.frame_of:
            return None
        yield from self._index_lock.acquire(cpu)
        frame = self.frame_of.get(slot)
        if frame is not None:
            self._kernel.frames.in_use.get(frame)
        yield from self._index_lock.release(cpu)
        return frame

    def has(self, cpu: Cpu, slot: int) -> Steps[bool]:
        """Whether the page of *slot* is in memory."""
        yield from self._node(slot).read(cpu, SWAP)
        return slot in self.frame_of

    def _add(self, cpu: Cpu, slot: int, frame: int, *, read: bool = False) -> Steps[None]:
        """The cache is one of the owners of *frame*, unless it has one for *slot*. *read*: what is in it has
        been read from there."""
        yield from self._index_lock.acquire(cpu)
        if slot not in self.frame_of:
            yield from self._node(slot).store(cpu, SWAP)
            cpu.work(self.cost.cache_page, SWAP)
            self._kernel.frames.in_use.get(frame)
            self.frame_of[slot], self.slot_of[frame] = frame, slot
            self.slots.has_cache.add(slot)
            if read:
                self._true.add(slot)
        yield from self._index_lock.release(cpu)

    def _settle(self, cpu: Cpu, slot: int) -> Steps[int]:
        """The cache keeps the page of *slot* only while somebody has it and another the slot, or while it is
        being taken away. Value: how many frames are free now."""
        if slot not in self.frame_of:
            return 0
        frames = self._kernel.frames
        yield from self._index_lock.acquire(cpu)
        frame = self.frame_of.get(slot)
        alone = frame is not None and frames.in_use.owners(frame) == 1
        users = self.slots.users.get(slot, 0)
        if frame is None or frame in self._busy or (users and not (alone and slot in self._true)):
            yield from self._index_lock.release(cpu)
            return 0
        yield from self._node(slot).store(cpu, SWAP)
        cpu.work(self.cost.cache_page, SWAP)
        del self.frame_of[slot], self.slot_of[frame]
        self._true.discard(slot)
        yield from self._index_lock.release(cpu)
        yield from self.slots.clear_cache(cpu, slot)
        frames.free(cpu, frame)
        return int(alone)

    def _node(self, slot: int) -> CacheLine:
        number = slot // _NODE_SLOTS
        line = self._lines.get(number)
        if line is None:
            line = self._lines[number] = self._kernel.machine.line(f"swap cache: node {number}", 0)
        return line

    # -- marks that say a slot ------------------------------------------------------------------------------

    def release(self, cpu: Cpu, slots: Iterable[int]) -> Steps[None]:
        """Marks that said *slots* are gone."""
        for slot in slots:
            users = yield from self.slots.count(cpu, slot, -1)
            if not users:
                yield from self._settle(cpu, slot)

    def read(self, cpu: Cpu, frame: int, mark: Status) -> Steps[None]:
        """What is in the slot that *mark* says is in *frame*, too."""
        slot = mark.slot
        assert slot is not None

        def done() -> int:
            cpu.probe.page_in(cpu, frame, slot)
            return 0

        cpu.work(self.cost.swap_in, SWAP)
        yield from self.device.read(cpu, done)

    def bring_in(
        self, cursor: Cursor, page: int, entry: Status, write: bool, spare: int, *, read: bool
    ) -> Steps[bool | None]:
        """Map *page*, which *entry* says is swapped out: from the cache, or *spare*, if that has been *read*.

        Who writes has it to himself at once, as a fault on a page that is there would leave it: what was read
        nobody else gets, and what others have is copied. Value: whether *spare* is mapped now; None if it has
        to be read first.
        """
        cpu, slot, frames = cursor.cpu, entry.slot, self._kernel.frames
        assert slot is not None
        found = yield from self.find(cpu, slot)
        if found is None and not read:
            return None
        if found is None and not write and self.slots.users.get(slot, 0) > 1:
            yield from self._add(cpu, slot, spare, read=True)  # the own mark keeps the slot from other use
        users = yield from self.slots.count(cpu, slot, -1)
        if not users:
            yield from self._settle(cpu, slot)
        mark, frame = mark_of(entry, None), spare if found is None else found
        if write and found is not None and frames.in_use.owners(found) > 1:
            yield from copy_into(cursor, spare, found)
            frames.free(cpu, found)
            yield from self._settle(cpu, slot)
            frame = spare
        alone = frames.in_use.owners(frame) == 1
        its = Present(frame, mark.rights, copy_on_write=not alone, accessed=True, dirty=write)
        yield from cursor.map(page, its, was=beside(mark))
        self.maps(cursor.space, page, frame)
        return frame == spare

    # -- taking pages away ----------------------------------------------------------------------------------

    def reclaim(self, cpu: Cpu) -> Steps[int]:
        """Free a batch of pages, or as many as there are. Value: how many."""
        task = cpu.current
        if task in self._reclaiming:
            return 0
        self._reclaiming.add(task)
        freed, looks = 0, 2 * len(self.origins) + self._spec.batch
        while freed < self._spec.batch and looks > 0:
            frames = yield from self._next(cpu)
            if not frames:
                break
            looks -= len(frames)
            for family, pages in self._by_leaf(frames):
                freed += yield from self._take_away(cpu, family, pages)
            self._busy.difference_update(frames)
        self._reclaiming.discard(task)
        return freed

    def _next(self, cpu: Cpu) -> Steps[list[int]]:
        """The frames with private pages that the hand comes to; nobody else takes them meanwhile."""
        yield from self._hand_lock.acquire(cpu)
        free = sorted(frame for frame in self.origins if frame not in self._busy)
        ahead = [frame for frame in free if frame >= self._hand]
        found = (ahead + free[: len(free) - len(ahead)])[: self._spec.batch]
        cpu.work(len(found) * self.cost.scan_page, RECLAIM)
        if found:
            self._hand = found[-1] + 1
        self._busy.update(found)
        yield from self._hand_lock.release(cpu)
        return found

    def _by_leaf(self, frames: Sequence[int]) -> list[tuple[Family, Pages]]:
        found: dict[tuple[Family, int], list[tuple[int, int]]] = {}
        for frame in frames:
            if (origin := self.origins.get(frame)) is not None:
                family, page = origin
                found.setdefault((family, page // SLOTS), []).append((page, frame))
        return [(family, pages) for (family, _), pages in found.items()]

    def _take_away(self, cpu: Cpu, family: Family, pages: Pages) -> Steps[int]:
        """Value: how many are free now."""
        yield from family.lock.acquire(cpu)
        spaces = list(family.spaces)
        for space in spaces:
            space.users += 1  # it does not end before we are through
        yield from family.lock.release(cpu)
        for space in spaces:
            with suppress(OutOfMemory):
                yield from self._unmap(cpu, space, pages, used=False)
            yield from space.put(cpu)
        return (yield from self._write(cpu, pages))

    def page_out(self, cpu: Cpu, space: CortenMm, part: range) -> Steps[None]:
        """MADV_PAGEOUT of a part of one leaf: what nobody else has goes, used or not."""
        pages = []
        for page in part:
            entry = space.root.walk(page)
            if entry is None or entry.frame in self._busy:
                continue
            origin = self.origins.get(entry.frame)
            if origin == (space.family, page) and self._kernel.frames.in_use.owners(entry.frame) == 1:
                pages.append((page, entry.frame))
        self._busy.update(frame for _, frame in pages)
        with suppress(OutOfMemory):
            yield from self._unmap(cpu, space, pages, used=True)
        yield from self._write(cpu, pages)

    def _unmap(self, cpu: Cpu, space: CortenMm, pages: Pages, *, used: bool) -> Steps[None]:
        """One transaction: where *space* has these frames at these pages, its marks say slots. What is locked
        stays, and, if not *used*, what was used since the last look. Raises `OutOfMemory`."""
        if not pages:
            return
        first = pages[0][0] - pages[0][0] % SLOTS
        cursor = yield from space.lock(cpu, first, first + SLOTS)
        gone: dict[int, int] = {}
        for page, frame in pages:
            entry = yield from cursor.query(page)
            if not isinstance(entry, Present) or entry.frame != frame or self.origins.get(frame) is None:
                continue
            table = cursor.covering.deepest(page)
            mark = mark_of(entry, table.metadata.get(slot_of(page, 1)))
            if mark.locked:
                continue
            if entry.accessed and not used:
                yield from cursor.protect(page)
                entry.accessed = False
                continue
            slot = self.slot_of.get(frame)
            if slot is None:
                slot = yield from self.slots.take(cpu)
                if slot is None:
                    break
                yield from self._add(cpu, slot, frame)
            yield from self.slots.count(cpu, slot, 1)
            yield from cursor.set_mark(page, swapped(mark, slot))
            gone[page] = frame
        if gone:
            yield from space.tlb.flush(cpu, list(gone))
        yield from space.unlock(cursor)
        for frame in gone.values():
            self._kernel.frames.free(cpu, frame)

    def _write(self, cpu: Cpu, pages: Pages) -> Steps[int]:
        """What nobody has any more of these pages is written to its slot, and its frame is free. Value: how
        many are."""
        freed = 0
        for _, frame in pages:
            slot = self.slot_of.get(frame)
            wanted = slot is not None and self.slots.users[slot] > 0 and slot not in self._true
            if slot is not None and wanted and self._kernel.frames.in_use.owners(frame) == 1:
                yield from self._write_out(cpu, frame, slot)
            self._busy.discard(frame)
            if slot is not None:
                freed += yield from self._settle(cpu, slot)
        return freed

    def _write_out(self, cpu: Cpu, frame: int, slot: int) -> Steps[None]:
        cpu.probe.page_out(cpu, frame, slot)
        yield from self.device.write(cpu, lambda: 0)
        self._true.add(slot)

    # -- the end state --------------------------------------------------------------------------------------

    def references(self) -> Iterator[Reference]:
        """The frames that the cache owns."""
        for slot, frame in self.frame_of.items():
            yield Reference(frame, "the swap cache, slot", slot)

    def contradictions(self, spaces: Iterable[AddressSpace]) -> Iterator[str]:
        """A slot has as many users as marks of all *spaces* say it, and none is lost."""
        yield from self.slots.contradictions()
        said: dict[int, int] = {}
        for space in spaces:
            for slot in slots_of(space.root.tables()):
                said[slot] = said.get(slot, 0) + 1
        for slot in sorted(said.keys() | self.slots.users.keys()):
            if self.slots.users.get(slot, 0) != said.get(slot, 0):
                users = self.slots.users.get(slot, 0)
                yield f"swap slot {slot} counts {users} users and {said.get(slot, 0)} marks say it"
        for slot in sorted(self.slots.has_cache ^ self.frame_of.keys()):
            yield f"the swap cache and the count of slot {slot} do not agree whether its page is in memory"
