"""Swap slots: who has which, and how they are handed out (mm/swapfile.c and mm/swap_slots.c, 6.13).

    free      in the device's map, under its lock (swap_info_struct)
    cached    in a cpu's cache, to be taken next, or given back and not yet in the map
    in use    so many swap entries name it (*users*); and the swap cache may have its page (*has_cache*)

Users are counted under the lock of the slot's cluster. A cpu moves a cacheful of slots at once, so the
device's lock is fetched once in so many pages. When the device has none left all caches are emptied into it
(deactivate_swap_slots_cache). Left out: the lock of the list of devices, as there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.mm.swap.device import SWAP
from sim.quantities import PAGE_BYTES
from sim.sync import QueuedSpinLock, QueueNodes

if TYPE_CHECKING:
    from sim.mm.swap.spec import SlotCosts, SwapSpace

LOCK_SWAP: Final = Activity("lock: swap")


class SwapSlots:
    """The slots of one device, numbered from 0 on."""

    __slots__ = (
        "_back",
        "_batch",
        "_cluster",
        "_clusters",
        "_cost",
        "_free",
        "_fresh",
        "_lock",
        "_machine",
        "_nodes",
        "_ready",
        "_size",
        "has_cache",
        "users",
    )

    def __init__(self, machine: Machine, spec: SwapSpace, cost: SlotCosts, nodes: QueueNodes) -> None:
        self._machine = machine
        self._nodes = nodes
        self._cost = cost
        self._batch = spec.slots.cache
        self._cluster = spec.slots.cluster
        self._size = spec.size // PAGE_BYTES
        self._fresh = 0
        self._free: list[int] = []
        self._ready: list[list[int]] = [[] for _ in machine.cpus]
        self._back: list[list[int]] = [[] for _ in machine.cpus]
        self._lock = QueuedSpinLock(nodes, machine.line("swap_info_struct", 0), LOCK_SWAP)
        self._clusters: dict[int, QueuedSpinLock] = {}
        self.users: dict[int, int] = {}
        self.has_cache: set[int] = set()

    @property
    def left(self) -> int:
        """Slots that nobody uses (nr_swap_pages, those in caches with them)."""
        return self._size - len(self.users)

    @property
    def is_full(self) -> bool:
        """vm_swap_full: half of them are used, so a page that is in memory too gives its slot up."""
        return 2 * self.left < self._size

    def take(self, cpu: Cpu) -> Steps[int | None]:
        """folio_alloc_swap: value is a slot, whose page the swap cache will have; None if there is none."""
        cpu.work(self._cost.slot, SWAP)
        ready = self._ready[cpu.id]
        if not ready:
            yield from self._refill(cpu, ready)
        if not ready and self.left:
            yield from self._drain(cpu)
            yield from self._refill(cpu, ready)
        if not ready:
            return None
        slot = ready.pop()
        self.users[slot] = 0
        self.has_cache.add(slot)
        return slot

    def count(self, cpu: Cpu, slot: int, change: int) -> Steps[int]:
        """swap_duplicate, swap_free: one user more or less; value: how many it has now."""
        yield from self._locked(cpu, slot)
        self.users[slot] += change
        users = self.users[slot]
        unused = not users and slot not in self.has_cache
        yield from self._cluster_lock(slot).release(cpu)
        if unused:
            yield from self._put(cpu, slot)
        return users

    def set_cache(self, cpu: Cpu, slot: int) -> Steps[bool | None]:
        """swapcache_prepare: whoever reads the page sets the flag. Value: whether it was *cpu*; None if the
        slot is not in use any more."""
        yield from self._locked(cpu, slot)
        taken = None if not self.users.get(slot) else slot not in self.has_cache
        if taken:
            self.has_cache.add(slot)
        yield from self._cluster_lock(slot).release(cpu)
        return taken

    def clear_cache(self, cpu: Cpu, slot: int) -> Steps[None]:
        """put_swap_folio, swapcache_clear: the swap cache has the page no more."""
        yield from self._locked(cpu, slot)
        self.has_cache.discard(slot)
        unused = not self.users[slot]
        yield from self._cluster_lock(slot).release(cpu)
        if unused:
            yield from self._put(cpu, slot)

    def _locked(self, cpu: Cpu, slot: int) -> Steps[None]:
        """lock_cluster; the count lies in its map."""
        yield from self._cluster_lock(slot).acquire(cpu)
        cpu.work(self._cost.count_slot, SWAP)

    def _cluster_lock(self, slot: int) -> QueuedSpinLock:
        number = slot // self._cluster
        lock = self._clusters.get(number)
        if lock is None:
            line = self._machine.line(f"swap cluster {number}", 0)
            lock = self._clusters[number] = QueuedSpinLock(self._nodes, line, LOCK_SWAP)
        return lock

    def _put(self, cpu: Cpu, slot: int) -> Steps[None]:
        """free_swap_slot."""
        cpu.work(self._cost.slot, SWAP)
        del self.users[slot]
        back = self._back[cpu.id]
        back.append(slot)
        if len(back) >= self._batch:
            yield from self._give_back(cpu, back)

    def _refill(self, cpu: Cpu, ready: list[int]) -> Steps[None]:
        """refill_swap_slots_cache, get_swap_pages."""
        yield from self._lock.acquire(cpu)
        taken = [self._free.pop() for _ in range(min(self._batch, len(self._free)))]
        more = min(self._batch - len(taken), self._size - self._fresh)
        taken += range(self._fresh, self._fresh + more)
        self._fresh += more
        cpu.work(self._cost.refill_slot * len(taken), SWAP)
        ready.extend(reversed(taken))
        yield from self._lock.release(cpu)

    def _give_back(self, cpu: Cpu, slots: list[int]) -> Steps[None]:
        """swapcache_free_entries."""
        yield from self._lock.acquire(cpu)
        cpu.work(self._cost.refill_slot * len(slots), SWAP)
        self._free += reversed(slots)
        slots.clear()
        yield from self._lock.release(cpu)

    def _drain(self, cpu: Cpu) -> Steps[None]:
        """__drain_swap_slots_cache: what all cpus keep goes back."""
        for slots in (*self._ready, *self._back):
            if slots:
                yield from self._give_back(cpu, slots)

    # -- the end state --------------------------------------------------------------------------------------

    def contradictions(self) -> Iterator[str]:
        """Each slot is free, in a cache of a cpu or in use, and no two of these."""
        places = [*self._free, *self.users]
        for cached in (*self._ready, *self._back):
            places += cached
        if sorted(places) != list(range(self._fresh)):
            found = f"{len(places)} places, {len(set(places))} of them different"
            yield f"{self._fresh} swap slots were ever taken; they are in {found}"
        for slot in sorted(self.has_cache - self.users.keys()):
            yield f"swap slot {slot} is free and the swap cache has its page"
        for slot, users in self.users.items():
            if not users and slot not in self.has_cache:
                yield f"swap slot {slot} is in use and nobody names it"
