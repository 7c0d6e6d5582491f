"""What TLBs may hold: no translation to a free frame, none that an operation should have removed.

fill      page -> frame is in a TLB from tick t on; whether it still is, is looked up when it matters
free      no TLB translates to the frame, but one that flushes before its thread runs again
munmap .. when it returns, no TLB has a translation of its pages that is older than the call and that the
          table does not have: the kernel may put that off (`may_be_stale`) while it keeps the frame
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from sim.engine import Probe
from sim.mm import (
    SLOTS,
    Brk,
    ExmapFree,
    Fork,
    Madvise,
    Mprotect,
    Mremap,
    Munmap,
    Present,
    ProcessMadvise,
    SwitchMm,
    Touch,
    rights_text,
    slot_of,
)
from sim.mm.present_run import SAID, Alike
from sim.quantities import format_duration

if TYPE_CHECKING:
    from sim.check.scene import Flight, Scene
    from sim.engine import Engine
    from sim.engine.probe import CpuView

OWNER: Final = "a frame has one owner (I12)"
REACHED: Final = "no frame is freed while a TLB translates to it (I12)"
REUSED: Final = "the flush is over before a freed frame is used again (I12)"
LOADED: Final = "no translation to a free frame is loaded (I12)"
FILLED: Final = "no page is shown that nobody has zeroed, copied or read in"
ZEROS: Final = "the page of zeros is not written (I16)"
ACTIVE: Final = "who flushes a space knows all cpus that have it loaded (I14)"
STALE: Final = "no translation is staler than an operation that has returned (I13)"
LET_GO: Final = "who has copied a page lets the old one go after the flush (I12)"
BACK: Final = "who comes back to a space has no translation that was flushed meanwhile (I13)"
LAZY: Final = "a lazy flush is over when all cpus have swept (I12)"
HERE: Final = "a lazy flush begins with the cpu's own TLB (I13)"
PRIVATE: Final = "no private frame is mapped twice and writable (I16)"
INSIDE: Final = "entries lie in mappings, with no more rights than theirs"

_REMOVING: Final = (Munmap, Mprotect, Madvise, ExmapFree, Touch)
"""What promises something of the pages that it names: a write to a page that is copied, too."""
_ANYWHERE: Final = (Fork, Mremap, ProcessMadvise, Brk)
"""The same of pages that it does not name, or not all."""
_LOOKED_AT: Final = 16
"""Pages at both ends of an operation's range whose entries are held against the mappings."""

Place = tuple[Any, int, int, int]
"""A TLB's cpu, the number of the address space, the first page of a translation and its table's level."""


class Translations(Probe):
    """*given* and *free* are the frames of which it was told that they were given away, or came back; *blank*
    are those given away that have in them what they had before."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._begin()

    def attach(self, engine: Engine) -> None:
        self._begin()

    def _begin(self) -> None:
        self.given: set[int] = set()
        self.free: set[int] = set()
        self.blank: set[int] = set()
        self._of_frame: dict[int, dict[Place, None]] = {}
        self._of_block: dict[int, dict[Place, None]] = {}
        """The same of frames of 2 MiB, by their number."""
        self._of_page: dict[int, dict[tuple[Any, int], tuple[int, Any, int]]] = {}
        """Page -> cpu and address space's number -> when it was loaded, in which space, from which level."""
        self._let_off: dict[int, list[Place]] = {}
        self._known_on: set[tuple[Any, int]] = set()
        self._owed: dict[tuple[Any, int], list[tuple[int, int, Any]]] = {}
        """A cpu and the number of a space that it must flush before it uses it again -> the pages of which
        this was seen, with their frames and the space."""
        self._put_off: dict[object, tuple[int, list[Any]]] = {}
        """A lazy flush -> when it began, and who is to sweep it."""
        self._shared: set[int] = set()
        """Frames of memory that is mapped to be shared."""

    # -- what is told ---------------------------------------------------------------------------------------

    def tlb_fill(self, cpu: Any, page: int, frame: int, writable: bool, level: int) -> None:
        scene = self._scene
        scene.tick += 1
        asid = cpu.tlb.asid
        flight = scene.flights.get(cpu.current)
        space = None if flight is None else flight.space
        if space is None and len(scene.spaces) == 1:
            space = scene.spaces[0]
        if level == 1 and frame in self._of_frame and frame not in self._shared:
            self._is_private(cpu, frame, page, space)
        if level > 1:
            page -= page % SLOTS
            if frame >= 0:
                self._of_block.setdefault(frame // SLOTS, {})[cpu, asid, page, level] = None
        elif frame >= 0:
            places = self._of_frame.get(frame)
            if places is None:
                places = self._of_frame[frame] = {}
            places[cpu, asid, page, 1] = None
        loaded = self._of_page.get(page)
        if loaded is None:
            loaded = self._of_page[page] = {}
        if (cpu, asid) not in self._known_on:
            self._is_active(cpu, asid, space)
        loaded[cpu, asid] = (scene.tick, space, level)
        if writable and frame < 0:
            scene.fail(ZEROS, f"{cpu} loads page {page:#x} -> the page of zeros, to be written", cpu)
        if frame in self.blank:
            scene.fail(FILLED, f"{cpu} loads page {page:#x} -> frame {frame}, which nobody has filled", cpu)
        if frame in self.free:
            scene.fail(LOADED, f"{cpu} loads page {page:#x} -> frame {frame}, which is free", cpu)

    def address_space_switch(self, cpu: Any, kept: bool) -> None:
        self._known_on = {known for known in self._known_on if known[0] is not cpu}
        for page, frame, space in self._owed.pop((cpu, cpu.tlb.asid), ()) if kept else ():
            found = cpu.tlb.peek(page, cpu.tlb.asid)
            if found is None or found.frame != frame or _maps(space, page, frame, found.writable):
                continue
            what = f"{cpu} loads a space again, and can still translate page {page:#x} to frame {frame}"
            self._scene.fail(BACK, what, cpu)
        if not kept:
            self._owed.pop((cpu, cpu.tlb.asid), None)

    def lazy_flush_begins(self, cpu: Any, flush: Any, record: Any) -> None:
        self._put_off[record] = cpu.engine.now, [other for other in flush.loaded_on if other is not cpu]
        for each in record.removed if len(record.removed) <= _LOOKED_AT else record.removed[:_LOOKED_AT]:
            page, frame = _first_of(each)
            if frame in self.free:
                what = f"{cpu} puts the flush of page {page:#x} off, and frame {frame} is free"
                self._scene.fail(LAZY, what, cpu)
            found = cpu.tlb.peek(page, cpu.tlb.asid)
            if found is not None and found.frame == frame:
                what = (
                    f"{cpu} puts the flush of page {page:#x} off and can still translate it to frame {frame}"
                )
                self._scene.fail(HERE, what, cpu)

    def lazy_flush_ends(self, cpu: Any, flush: Any, record: Any) -> None:
        began, others = self._put_off.pop(record, (0, []))
        for other in others:
            if other in flush.loaded_on and (turn := flush.next_sweep(other, began)) > cpu.engine.now:
                what = (
                    f"{cpu} frees what it has unmapped, and it is {other}'s turn at {format_duration(turn)}"
                )
                self._scene.fail(LAZY, what, cpu, other)

    def frame_let_go(self, cpu: CpuView, frame: int) -> None:
        """Others still have it: but they may free it at any time, so no TLB of the space that leaves it may
        have it. In a fault it is the page of an entry that was given up, and of nothing else."""
        flight = self._scene.flights.get(cpu.current)
        if flight is None or not isinstance(flight.operation, Touch):
            return
        for other, asid, page, _ in self._of_frame.get(frame, ()):
            loaded = self._of_page.get(page, {}).get((other, asid))
            if loaded is None or (space := loaded[1]) is not flight.space:
                continue
            found = other.tlb.peek(page, asid)
            if found is None or found.frame != frame or _maps(space, page, frame, found.writable):
                continue
            if self._is_unused(other, asid) or space.may_be_stale(page, frame):
                continue
            what = f"{cpu} lets frame {frame} go, and {other} can still translate page {page:#x} to it"
            self._scene.fail(LET_GO, what, cpu, other)

    def frame_allocated(self, cpu: CpuView, frame: int, order: int) -> None:
        for each in range(frame, frame + (1 << order)) if order else (frame,):
            if each in self.given:
                self._scene.fail(OWNER, f"frame {each} is given away and has an owner", cpu)
            self.given.add(each)
            self.blank.add(each)
            self.free.discard(each)
            if each in self._let_off:
                self._is_flushed(cpu, each)

    def frame_filled(self, cpu: CpuView, frame: int, source: int | None) -> None:
        self.blank.discard(frame)

    def page_in(self, cpu: CpuView, frame: int, slot: int) -> None:
        self.blank.discard(frame)

    def frame_freed(self, cpu: CpuView, frame: int, order: int) -> None:
        for each in range(frame, frame + (1 << order)) if order else (frame,):
            if each in self.free:
                self._scene.fail(OWNER, f"frame {each} is freed twice", cpu)
            self.given.discard(each)
            self.blank.discard(each)
            self.free.add(each)
            self._shared.discard(each)
            if (places := self._of_frame.pop(each, None)) is not None:
                for place in places:
                    self._is_unreached(cpu, each, place)
            if self._of_block and (places := self._of_block.get(each // SLOTS)) is not None:
                for place in list(places):
                    self._is_unreached(cpu, each, place)

    def frame_pooled(self, cpu: CpuView, frame: int) -> None:
        """As `frame_freed`, of a frame that its process keeps. One that gives pages away before it flushes
        says so (`may_be_stale`)."""
        if frame in self.free:
            self._scene.fail(OWNER, f"frame {frame} is put into a pool twice", cpu)
        self.free.add(frame)
        for place in list(self._of_frame.get(frame, ())):
            self._is_unreached(cpu, frame, place)

    def frame_unpooled(self, cpu: CpuView, frame: int) -> None:
        if frame not in self.free and frame in self._of_frame:
            self._scene.fail(OWNER, f"frame {frame} is taken from a pool and is not in it", cpu)
        self.free.discard(frame)
        if frame in self._let_off:
            self._is_flushed(cpu, frame)

    def operation_ends(self, cpu: CpuView, operation: object) -> None:
        flight = self._scene.flights.get(cpu.current)
        if flight is None or not hasattr(flight.space, "root"):
            return
        if flight.pages is None:
            if isinstance(operation, _ANYWHERE):
                self._nothing_stale(flight, cpu)
            return
        if isinstance(operation, _REMOVING):
            self._nothing_stale(flight, cpu)
        self._lie_inside(flight, cpu)

    def _is_active(self, cpu: Any, asid: int, space: Any) -> None:
        """*cpu* loads its first translation under *asid*: who flushes *space* knows that it is there."""
        self._known_on.add((cpu, asid))
        loaded_on = getattr(getattr(space, "tlb", None), "loaded_on", None)
        if loaded_on is not None and cpu not in loaded_on:
            self._scene.fail(ACTIVE, f"{cpu} loads translations of a space that others think it left", cpu)

    # -- frames ---------------------------------------------------------------------------------------------

    def _is_unreached(self, cpu: CpuView, frame: int, place: Place) -> None:
        """*frame* is free: it is no part of what the TLB of *place* has, unless it is flushed before use."""
        other, asid, first, level = place
        page = first if level == 1 else first + frame % SLOTS
        found = other.tlb.peek(page, asid)
        if found is None or found.frame != frame:
            return
        if asid == other.tlb.asid:
            if other.tlb.stale:
                self._let_off.setdefault(frame, []).append(place)
                self._owes(other, asid, page, frame)
                return
        elif not self._is_kept(other, asid):
            self._owes(other, asid, page, frame)
            return
        for space in self._scene.spaces:
            if space.may_be_stale(page, frame) and all(
                not each.frame <= frame < each.frame + each.frames for each in space.deferred()
            ):
                return
        what = f"{cpu} frees frame {frame}, and {other} can still translate page {page:#x} to it"
        self._scene.fail(REACHED, what, cpu, other)

    def _is_flushed(self, cpu: CpuView, frame: int) -> None:
        """*frame*, which was freed while a TLB that had to be flushed had it, is given away."""
        for other, asid, first, level in self._let_off.pop(frame):
            page = first if level == 1 else first + frame % SLOTS
            found = other.tlb.peek(page, asid)
            if found is None or found.frame != frame or other.tlb.stale or asid != other.tlb.asid:
                continue
            what = f"frame {frame} is given away again, and {other} can still translate page {page:#x} to it"
            self._scene.fail(REUSED, what, cpu, other)

    def _owes(self, cpu: Any, asid: int, page: int, frame: int) -> None:
        """*cpu* has such a translation, and is to flush it before it uses any of *asid* again."""
        loaded = self._of_page.get(page, {}).get((cpu, asid))
        self._owed.setdefault((cpu, asid), []).append((page, frame, None if loaded is None else loaded[1]))

    def _is_unused(self, cpu: Any, asid: int) -> bool:
        """Whether *cpu* has to flush its translations of *asid* before it uses one, or is in the middle of a
        switch: what it still has when that is over is looked at then."""
        if asid == cpu.tlb.asid:
            flight = self._scene.flights.get(cpu.current)
            return bool(cpu.tlb.stale) or (flight is not None and isinstance(flight.operation, SwitchMm))
        return not self._is_kept(cpu, asid)

    def _is_private(self, cpu: CpuView, frame: int, page: int, space: Any) -> None:
        """*space* has *frame* at *page*, and TLBs have it elsewhere: at no place it may be written, unless
        all is shared memory."""
        if space is None:
            return
        for other, asid, there, level in self._of_frame[frame]:
            loaded = self._of_page.get(there, {}).get((other, asid))
            if loaded is None or level > 1 or (loaded[1] is space and there == page):
                continue
            places = (space, page), (loaded[1], there)
            entries = [None if its is None else _entry(its.root, at) for its, at in places]
            if not all(isinstance(each, Present) and each.frame == frame for each in entries):
                continue
            if any(its.shares(at) for its, at in places):
                self._shared.add(frame)
                return
            if any(isinstance(each, Present) and each.writable for each in entries):
                what = f"{cpu} loads page {page:#x} -> frame {frame}, which is page {there:#x}"
                what += "" if loaded[1] is space else " of another process"
                self._scene.fail(PRIVATE, what + ", too, and one of them is writable", cpu, other)

    def _is_kept(self, cpu: Any, asid: int) -> bool:
        """Whether *cpu*, which has loaded another address space, will use entries of *asid* again."""
        return any(hasattr(space, "root") and space.asid_left_on(cpu) == asid for space in self._scene.spaces)

    # -- operations -----------------------------------------------------------------------------------------

    def _nothing_stale(self, flight: Flight, cpu: CpuView) -> None:
        of_page, space = self._of_page, flight.space
        asked = flight.pages
        pages: Collection[int]
        if asked is None:
            pages = list(of_page)
        else:
            pages = asked if len(asked) <= len(of_page) else [page for page in of_page if page in asked]
        for page in pages:
            if (loaded := of_page.get(page)) is None:
                continue
            for (other, asid), (tick, its, _) in list(loaded.items()):
                if its is not space or tick > flight.began:
                    continue
                found = other.tlb.peek(page, asid)
                if found is None or self._is_covered(page, other, asid, tick):
                    del loaded[other, asid]
                    continue
                entry = _entry(space.table_of(other), page)
                if entry.__class__ is Present:
                    assert isinstance(entry, Present)
                    if entry.frame_of(page) == found.frame and (entry.writable or not found.writable):
                        continue
                elif entry is not None and not isinstance(flight.operation, Munmap):
                    continue  # reclaim flushes its own, later
                if self._is_unused(other, asid):
                    self._owes(other, asid, page, found.frame)
                    continue
                if space.may_be_stale(page, found.frame) or self._is_changing(flight, page, entry):
                    continue
                rights = "write" if found.writable else "read"
                what = f"{other} can still {rights} page {page:#x} in frame {found.frame}, and the table has "
                self._scene.fail(STALE, what + ("nothing" if entry is None else str(entry)), cpu, other)
            if not loaded:
                del of_page[page]

    def _is_covered(self, page: int, other: Any, asid: int, tick: int) -> bool:
        """Whether what the TLB has of *page* is an entry for 2 MiB that it has loaded since *tick*: the
        number may be another space's by now."""
        whole = self._of_page.get(page - page % SLOTS, {}).get((other, asid))
        return whole is not None and whole[2] > 1 and whole[0] > tick

    def _is_changing(self, flight: Flight, page: int, entry: object) -> bool:
        """Whether somebody else may be about to flush *page*.

        Who throws contents away may not rely on that: another one may have cleared the entry, but a flush has
        to be over when this one returns.
        """
        if entry is None and getattr(flight.operation, "advice", None) == "dontneed":
            return self._scene.others_at(page, flight.task, but=(Madvise, Touch))
        return self._scene.others_at(page, flight.task)

    def _lie_inside(self, flight: Flight, cpu: CpuView) -> None:
        assert flight.pages is not None
        pages, space = flight.pages, flight.space
        ends = pages if len(pages) <= 2 * _LOOKED_AT else [*pages[:_LOOKED_AT], *pages[-_LOOKED_AT:]]
        for page in ends:
            rights = space.status(page)
            for root in space.roots():
                entry = _entry(root, page)
                if entry.__class__ is not Present:
                    continue
                assert isinstance(entry, Present)
                if rights is not None and not entry.rights & ~rights:
                    continue
                if self._scene.others_at(page, flight.task):
                    continue
                if space.may_be_behind(page, entry.frame_of(page)):
                    continue
                says = (
                    "nothing is mapped there"
                    if rights is None
                    else f"its mapping allows {rights_text(rights)}"
                )
                self._scene.fail(INSIDE, f"page {page:#x} is {entry}, and {says}", cpu)


def _first_of(removed: Any) -> tuple[int, int]:
    """The first page of what was removed, and its frame."""
    return (removed.page, removed.frames.start) if isinstance(removed, Alike) else (removed[0], removed[1])


def _maps(space: Any, page: int, frame: int, writable: bool) -> bool:
    """Whether the table of *space* has *page* at *frame*, and to be written if that is asked for."""
    entry = None if space is None else _entry(space.root, page)
    return isinstance(entry, Present) and entry.frame_of(page) == frame and (entry.writable or not writable)


def _entry(root: Any, page: int) -> object:
    """What stands for *page* in the table of *root*; nothing in it is changed by the look."""
    table = root
    while True:
        slot = slot_of(page, table.level)
        entry = table.entries[slot]
        if entry is SAID:
            said = table.run.said(slot)
            return said.guarded() if _is_guarded(table) else said
        if not hasattr(entry, "entries"):
            return entry.guarded() if isinstance(entry, Present) and _is_guarded(table) else entry
        table = entry


def _is_guarded(table: Any) -> bool:
    return table.sharing is not None and table.sharing.guarded
