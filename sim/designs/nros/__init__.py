"""NrOS's address space (OSDI'21): replicas of a sequential one, kept alike by a log of operations."""

from sim.designs.base import Family
from sim.designs.nros.kernel import NrosKernel
from sim.designs.nros.spec import NrosSpec

FAMILY = Family("nros", NrosSpec, NrosKernel)

__all__ = ["FAMILY", "NrosKernel", "NrosSpec"]
