"""How large the slabs of a cache are and how many are kept.

Source: mm/slub.c of 6.13.7, calculate_order, calc_slab_order, set_cpu_partial, do_kmem_cache_create.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.mm import MAX_ORDER
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from sim.designs.linux.slab.spec import SlabRules


def slab_order(size: int, cpus: int, rules: SlabRules) -> int:
    """calculate_order: the order of a slab for objects of *size* bytes on a machine of *cpus*.

    More cpus want more objects, at least four times (log2 of the cpus, plus 2). Of the orders with so many it
    is the first that wastes little; what is little is doubled until some order does.
    """
    wanted = 4 * (cpus.bit_length() + 1)
    wanted = min(wanted, max((PAGE_BYTES << rules.max_order) // size, 1))
    least = _order_of(wanted * size)
    fraction = rules.waste
    while fraction > 1:
        for order in range(least, rules.max_order + 1):
            slab = PAGE_BYTES << order
            if slab % size <= slab // fraction:
                return order
        fraction //= 2
    order = _order_of(size)
    assert order <= MAX_ORDER
    return order


def _order_of(size: int) -> int:
    """get_order: of the smallest block that has *size* bytes."""
    return max(0, -(-size // PAGE_BYTES) - 1).bit_length()


def cpu_partial_slabs(size: int, objects: int, rules: SlabRules) -> int:
    """slub_set_cpu_partial: how many slabs of *objects* each a cpu's partial list may hold."""
    limit = next((limit.objects for limit in rules.cpu_partial if size < limit.below), 0)
    return -(-limit * 2 // objects)


def min_partial(size: int, rules: SlabRules) -> int:
    """do_kmem_cache_create: how many slabs a node's list keeps before empty ones are given back."""
    return max(rules.min_partial, min(rules.max_partial, (size.bit_length() - 1) // 2))
