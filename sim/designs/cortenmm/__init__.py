"""CortenMM (SOSP'25): the page table is the only structure, and a cursor locks what it needs."""

from sim.designs.base import Family
from sim.designs.cortenmm.kernel import CortenKernel, kernel_of
from sim.designs.cortenmm.spec import CortenSpec

FAMILY = Family("cortenmm", CortenSpec, kernel_of)

__all__ = ["FAMILY", "CortenKernel", "CortenSpec"]
