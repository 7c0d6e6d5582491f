"""Page allocators that more than one design can have, and the protocol that all of Linux's kind follow."""

from sim.mm.allocators.base import Allocator
from sim.mm.allocators.llfree import Llfree
from sim.mm.allocators.spec import LlfreeSpec

__all__ = ["Allocator", "Llfree", "LlfreeSpec"]
