"""RadixVM (EuroSys'13, in sv6): a radix tree with a lock in each slot, page tables a core, Refcache."""

from sim.designs.base import Family
from sim.designs.radixvm.kernel import RadixKernel
from sim.designs.radixvm.spec import RadixSpec

FAMILY = Family("radixvm", RadixSpec, RadixKernel)

__all__ = ["FAMILY", "RadixKernel", "RadixSpec"]
