"""LLFree, a page allocator without locks (Wrenger et al., USENIX ATC 2023): trees, bits, reservations."""

from sim.mm.allocators.llfree.allocator import Llfree
from sim.mm.allocators.llfree.trees import Trees

__all__ = ["Llfree", "Trees"]
