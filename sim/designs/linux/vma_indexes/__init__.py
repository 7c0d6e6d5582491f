"""Indexes of VMAs by address: what a design file names as its `vma_index`.

An outside package adds one with an entry point `cortensim.vma_indexes`, which names its `VmaIndex` class.
"""

from collections.abc import Mapping
from typing import Final

from sim.designs.linux.vma_indexes.base import IndexSite, VmaIndex
from sim.designs.linux.vma_indexes.bonsai import BonsaiTree
from sim.designs.linux.vma_indexes.heard import HeardIndex
from sim.designs.linux.vma_indexes.interval import IntervalSkipList
from sim.designs.linux.vma_indexes.maple import MapleTree
from sim.designs.linux.vma_indexes.rbtree import MmapCacheRbTree, RbTree
from sim.plugins import Registry


def _flaw(name: str, thing: object) -> str | None:
    if isinstance(thing, type) and issubclass(thing, VmaIndex):
        return None
    return "what it names is no subclass of sim.designs.linux.VmaIndex"


_ON_BOARD: Final[Mapping[str, type[VmaIndex]]] = {
    "bonsai": BonsaiTree,
    "maple": MapleTree,
    "rbtree": RbTree,
    "rbtree-mmap-cache": MmapCacheRbTree,
    "interval-skiplist": IntervalSkipList,
}

VMA_INDEXES: Final[Registry[type[VmaIndex]]] = Registry("cortensim.vma_indexes", _ON_BOARD, _flaw)

__all__ = ["VMA_INDEXES", "HeardIndex", "IndexSite", "IntervalSkipList", "VmaIndex"]
