"""The swap cache: pages that are in memory and have a slot (mm/swap_state.c, mm/page_io.c; 6.13).

    add_to_swap      locked page -> slot, in the cache, dirty             one reference of the cache
    pageout          clean, under writeback until the device is done      written contents: the slot has them
    remove_mapping   clean, unmapped, nobody else holds it -> free        the slot has the only copy
    swap_in          a page that is read is in the cache, locked until it has been read

A page leaves the cache early where its slot is of no use: nobody else names it and the page is written, or
the device is half full. The index is an xarray for each *cache_space* slots, under its xa_lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sim.engine import Steps
from sim.engine.costs import at_clock
from sim.hardware import CacheLine, Cpu
from sim.mm import LOCK_SWAP, SWAP, Reference, SwapDevice, SwapSlots
from sim.sync import QueuedSpinLock, Sleeper, spin_lock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sim.designs.linux.kernel import LinuxKernel
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.swap.spec import SwapSpec

_NODE_SLOTS: Final = 64
"""Slots of one xarray node (XA_CHUNK_SIZE)."""


class Swap:
    """The swap device, its slots and the cache: *slot_of* has the cached frames, *frame_of* is the reverse.

    *dirty* are the cached frames whose slot has not their contents, *writeback* those that are being written.
    """

    __slots__ = (
        "_kernel",
        "_lines",
        "_locks",
        "_readers",
        "_space",
        "cost",
        "device",
        "dirty",
        "frame_of",
        "slot_of",
        "slots",
        "writeback",
    )

    def __init__(self, kernel: LinuxKernel, spec: SwapSpec) -> None:
        machine = kernel.machine
        self._kernel = kernel
        self.cost = at_clock(spec.costs, machine.spec.kernel_clock)
        self.slots = SwapSlots(machine, spec, self.cost, kernel.nodes)
        self.device = SwapDevice(machine, spec)
        self._space = spec.slots.cache_space
        self._locks: dict[int, QueuedSpinLock] = {}
        self._lines: dict[int, CacheLine] = {}
        self._readers: dict[int, list[Sleeper]] = {}
        self.frame_of: dict[int, int] = {}
        self.slot_of: dict[int, int] = {}
        self.dirty: set[int] = set()
        self.writeback: set[int] = set()

    # -- the index ------------------------------------------------------------------------------------------

    def find(self, cpu: Cpu, slot: int) -> Steps[int | None]:
        """swap_cache_get_folio: value is the frame that *slot* has in memory, with a reference for the
        caller."""
        cpu.work(self._kernel.cost.cache_lookup, SWAP)
        yield from self._node(slot).read(cpu, SWAP)
        frame = self.frame_of.get(slot)
        if frame is None:
            return None
        yield from self._kernel.descriptors.write(cpu, frame, activity=SWAP)  # folio_try_get
        if self.frame_of.get(slot) != frame:
            return None
        self._kernel.pages.in_use.get(frame)
        return frame

    def add(self, cpu: Cpu, frame: int, slot: int) -> Steps[None]:
        """add_to_swap_cache: *frame*, which is locked; the cache has a reference."""
        yield from self._lock(slot).acquire(cpu)
        yield from self._node(slot).store(cpu, SWAP)
        cpu.work(self.cost.cache_page, SWAP)
        self._kernel.pages.in_use.get(frame)
        self.frame_of[slot], self.slot_of[frame] = frame, slot
        yield from self._lock(slot).release(cpu)
        self._wake_readers(cpu, slot)

    def remove(self, cpu: Cpu, frame: int, owners: int | None = None) -> Steps[bool]:
        """delete_from_swap_cache: *frame*, which is locked and of which the caller has a reference.

        With *owners* it is __remove_mapping: *frame* stays if it has more references than these, as somebody
        has found it in the cache meanwhile (folio_ref_freeze), or if it is dirty. Value: whether it is gone.
        """
        slot = self.slot_of[frame]
        yield from self._lock(slot).acquire(cpu)
        yield from self._node(slot).store(cpu, SWAP)
        in_use = self._kernel.pages.in_use
        if owners is not None and (in_use.owners(frame) != owners or frame in self.dirty):
            yield from self._lock(slot).release(cpu)
            return False
        cpu.work(self.cost.cache_page, SWAP)
        del self.frame_of[slot], self.slot_of[frame]
        self.dirty.discard(frame)
        yield from self._lock(slot).release(cpu)
        yield from self.has_been_read(cpu, slot)
        last = in_use.put(frame)
        assert not last, "who removes a page from the swap cache has a reference of its own"
        return True

    def _lock(self, slot: int) -> QueuedSpinLock:
        number = slot // self._space
        lock = self._locks.get(number)
        if lock is None:
            line = self._kernel.machine.line(f"swapper space {number}: i_pages", 0)
            lock = self._locks[number] = spin_lock(self._kernel.nodes, line, LOCK_SWAP)
        return lock

    def _node(self, slot: int) -> CacheLine:
        number = slot // _NODE_SLOTS
        line = self._lines.get(number)
        if line is None:
            line = self._lines[number] = self._kernel.machine.line(f"swap cache: xarray node {number}", 0)
        return line

    # -- out ------------------------------------------------------------------------------------------------

    def add_to_swap(self, cpu: Cpu, frame: int) -> Steps[bool]:
        """add_to_swap: a slot for *frame*, which is locked; value: whether there is one."""
        slot = yield from self.slots.take(cpu)
        if slot is None:
            return False
        yield from self.add(cpu, frame, slot)
        self.dirty.add(frame)
        return True

    def write(self, cpu: Cpu, frame: int) -> Steps[None]:
        """swap_writepage: *frame*, which is locked and unmapped, goes to its slot."""
        slot = self.slot_of[frame]
        self.dirty.discard(frame)  # folio_clear_dirty_for_io
        self.writeback.add(frame)
        cpu.probe.page_out(cpu, frame, slot)
        yield from self.device.write(cpu, lambda: self._written(frame))

    def _written(self, frame: int) -> int:
        """end_swap_bio_write, folio_end_writeback: reclaim shall find it next (folio_rotate_reclaimable)."""
        self.writeback.discard(frame)
        if frame not in self.dirty:
            self._kernel.lru.rotate(frame)
        return 0

    # -- in -------------------------------------------------------------------------------------------------

    def read(self, cpu: Cpu, frame: int, slot: int) -> Steps[None]:
        """swap_read_folio: the page of *slot* goes to *frame*, which is locked until that is done, by whoever
        reads: the device unlocks it, or the caller has it still if that was synchronous."""
        device = self.device

        def done() -> int:
            cpu.probe.page_in(cpu, frame, slot)
            return 0 if device.synchronous else self._kernel.descriptors.unlock_in_interrupt(frame)

        yield from device.read(cpu, done)

    def wait_for_reader(self, cpu: Cpu, slot: int) -> Steps[None]:
        """Sleep while another has set the flag of *slot* and its page is not in the cache (swapcache_wq)."""
        if slot in self.slots.has_cache and slot not in self.frame_of:
            sleeper = Sleeper(cpu, f"a reader of swap slot {slot}")
            self._readers.setdefault(slot, []).append(sleeper)
            yield from self._kernel.scheduler.sleep(cpu, sleeper, SWAP)

    def has_been_read(self, cpu: Cpu, slot: int) -> Steps[None]:
        """swapcache_clear: the page of *slot* is not in the cache, and will not be."""
        yield from self.slots.clear_cache(cpu, slot)
        self._wake_readers(cpu, slot)

    def _wake_readers(self, cpu: Cpu, slot: int) -> None:
        for sleeper in self._readers.pop(slot, ()):
            self._kernel.scheduler.wake(cpu, sleeper)

    # -- what is of no use any more -------------------------------------------------------------------------

    def try_to_free(self, cpu: Cpu, frame: int) -> Steps[bool]:
        """folio_free_swap: *frame*, which is locked, gives its slot up if no entry names that."""
        slot = self.slot_of.get(frame)
        if slot is None or frame in self.writeback or self.slots.users[slot]:
            return False
        yield from self.remove(cpu, frame)
        return True

    def let_go(self, cpu: Cpu, frame: int) -> Steps[None]:
        """wp_can_reuse_anon_folio: who maps *frame* writes to it, so what its slot has is of no use."""
        if frame not in self.slot_of:
            return
        locked = yield from self._kernel.descriptors.try_lock(cpu, frame)
        if locked:
            yield from self.try_to_free(cpu, frame)
            yield from self._kernel.descriptors.unlock(cpu, frame)

    def free_cache(self, cpu: Cpu, frame: int) -> Steps[None]:
        """free_swap_cache: nobody maps *frame* any more, of which the caller has a reference."""
        if frame not in self.slot_of or self._kernel.rmap.maps(frame):
            return
        locked = yield from self._kernel.descriptors.try_lock(cpu, frame)
        if locked:
            yield from self.try_to_free(cpu, frame)
            yield from self._kernel.descriptors.unlock(cpu, frame)

    def free_and_cache(self, cpu: Cpu, slot: int) -> Steps[None]:
        """free_swap_and_cache: an entry is gone. A page that only the cache has goes with the last one."""
        users = yield from self.slots.count(cpu, slot, -1)
        if users or slot not in self.frame_of:
            return
        frame = yield from self.find(cpu, slot)  # __try_to_reclaim_swap
        if frame is None:
            return
        yield from self.free_cache(cpu, frame)
        yield from self._kernel.put_page(cpu, frame)

    # -- the end state --------------------------------------------------------------------------------------

    def references(self) -> Iterator[Reference]:
        """The frames that the cache owns."""
        for slot, frame in self.frame_of.items():
            yield Reference(frame, "the swap cache, slot", slot)

    def contradictions(self, spaces: Iterable[LinuxMm]) -> Iterator[str]:
        """A slot has as many users as entries of all *spaces* name it; the cache has those that say so."""
        yield from self.slots.contradictions()
        named: dict[int, int] = {}
        for mm in spaces:
            for entry in mm.swap_entries():
                named[entry.place] = named.get(entry.place, 0) + 1
        for slot in sorted(named.keys() | self.slots.users.keys()):
            if self.slots.users.get(slot, 0) != named.get(slot, 0):
                users = self.slots.users.get(slot, 0)
                yield f"swap slot {slot} counts {users} users and {named.get(slot, 0)} entries name it"
        for slot in sorted(self.slots.has_cache ^ self.frame_of.keys()):
            yield f"the swap cache and the count of slot {slot} do not agree whether its page is in memory"
        for frame in sorted((self.dirty | self.writeback) - self.slot_of.keys()):
            yield f"frame {frame} is to be written to swap and has no slot"
