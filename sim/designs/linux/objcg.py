"""Memory cgroups pay for objects, too: those of caches with SLAB_ACCOUNT (mm/memcontrol.c, 6.13).

    alloc   the cpu's stock of bytes |-- 4,096 --| too little left: a page more from the stock of pages
    free    back to the stock of bytes; whole pages of it go to the stock of pages

An object costs its size and the pointer that says who pays for it. Since 5.9 each object is charged by itself
(obj_cgroup). In the root cgroup none is. What statistics cost (mod_objcg_state) is in the two costs; they are
counted on each cpu.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.designs.linux.memcg import MEMCG
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from sim.designs.linux.memcg import Memcg
    from sim.designs.linux.memcg_spec import ObjectCosts
    from sim.engine import Steps
    from sim.engine.costs import AtClock
    from sim.hardware import Cpu, Machine

_OWNER: Final = 8
"""Bytes of the pointer to who pays (obj_full_size)."""


class ObjectCharges:
    """Bytes of objects that are charged to *memcg*."""

    __slots__ = ("_cost", "_memcg", "_stock")

    def __init__(self, machine: Machine, memcg: Memcg, cost: AtClock[ObjectCosts]) -> None:
        self._memcg = memcg
        self._cost = cost
        self._stock = [0] * len(machine.cpus)

    def charge(self, cpu: Cpu, size: int) -> Steps[None]:
        """__memcg_slab_post_alloc_hook, obj_cgroup_charge."""
        cpu.work(self._cost.charge, MEMCG)
        left = self._stock[cpu.id] - size - _OWNER
        if left < 0:
            yield from self._memcg.try_charge(cpu, 1)
            self._memcg.objects += 1
            left += PAGE_BYTES
        self._stock[cpu.id] = left

    def uncharge(self, cpu: Cpu, size: int) -> Steps[None]:
        """__memcg_slab_free_hook, refill_obj_stock."""
        cpu.work(self._cost.uncharge, MEMCG)
        self._stock[cpu.id] += size + _OWNER
        if self._stock[cpu.id] > PAGE_BYTES:
            self._stock[cpu.id] -= PAGE_BYTES
            self._memcg.objects -= 1
            yield from self._memcg.refill_stock(cpu)
