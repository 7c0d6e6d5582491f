"""Page allocators that more than one design can have, and the protocol that all of Linux's kind follow."""

from sim.mm.allocators.base import Allocator
from sim.mm.allocators.llfree import Llfree
from sim.mm.allocators.making import make_allocator
from sim.mm.allocators.pooled import PooledAllocator
from sim.mm.allocators.spec import AllocatorName, HasAllocator, LlfreeSpec

__all__ = [
    "Allocator",
    "AllocatorName",
    "HasAllocator",
    "Llfree",
    "LlfreeSpec",
    "PooledAllocator",
    "make_allocator",
]
