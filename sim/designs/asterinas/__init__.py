"""Asterinas: CortenMM's page table (adv) below a set of mappings under a lock of the whole address space."""

from sim.designs.asterinas.kernel import AsterinasKernel
from sim.designs.asterinas.spec import AsterinasSpec
from sim.designs.base import Family

FAMILY = Family("asterinas", AsterinasSpec, AsterinasKernel)

__all__ = ["FAMILY", "AsterinasKernel", "AsterinasSpec"]
