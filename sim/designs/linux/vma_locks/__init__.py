"""Locks of single VMAs: what a design file names as its `vma_lock`.

An outside package adds one with an entry point `cortensim.vma_locks`, which names its `VmaLocks` class.
"""

from collections.abc import Mapping
from typing import Final

from sim.designs.linux.vma_locks.base import Site, VmaLock, VmaLocks
from sim.designs.linux.vma_locks.heard import HeardVmaLock
from sim.designs.linux.vma_locks.interval import IntervalVmaLocks
from sim.designs.linux.vma_locks.none import NoVmaLocks
from sim.designs.linux.vma_locks.recheck import RecheckVmaLocks
from sim.designs.linux.vma_locks.refcount import RefcountVmaLocks
from sim.designs.linux.vma_locks.rwsem import RwSemVmaLocks
from sim.plugins import Registry


def _flaw(name: str, thing: object) -> str | None:
    if isinstance(thing, type) and issubclass(thing, VmaLocks):
        return None
    return "what it names is no subclass of sim.designs.linux.VmaLocks"


_ON_BOARD: Final[Mapping[str, type[VmaLocks]]] = {
    "none": NoVmaLocks,
    "recheck": RecheckVmaLocks,
    "rwsem": RwSemVmaLocks,
    "refcount": RefcountVmaLocks,
    "interval": IntervalVmaLocks,
}

VMA_LOCKS: Final[Registry[type[VmaLocks]]] = Registry("cortensim.vma_locks", _ON_BOARD, _flaw)

__all__ = ["VMA_LOCKS", "HeardVmaLock", "Site", "VmaLock", "VmaLocks"]
