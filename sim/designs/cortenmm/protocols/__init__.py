"""The locking protocols, by the name that design files give them.

rw                reader-writer locks on the way down
adv               a walk without locks, then the covering page and what is below
coarse            one lock for the whole tree
nontransactional  adv's locks, one entry after the other
optimistic        adv's locks for who writes, versions for who looks
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sim.designs.cortenmm.protocols.adv import AdvProtocol, FreeTables
from sim.designs.cortenmm.protocols.base import Protocol
from sim.designs.cortenmm.protocols.coarse import CoarseProtocol
from sim.designs.cortenmm.protocols.nontransactional import NontransactionalProtocol
from sim.designs.cortenmm.protocols.optimistic import OptimisticProtocol
from sim.designs.cortenmm.protocols.rw import RwProtocol

PROTOCOLS: Final[Mapping[str, type[Protocol]]] = {
    "rw": RwProtocol,
    "adv": AdvProtocol,
    "coarse": CoarseProtocol,
    "nontransactional": NontransactionalProtocol,
    "optimistic": OptimisticProtocol,
}

__all__ = ["PROTOCOLS", "FreeTables", "Protocol"]
