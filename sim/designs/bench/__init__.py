"""Bare hardware and bare allocators: kernels without address spaces, for benches."""

from sim.designs.base import Family
from sim.designs.bench.kernel import BareKernel
from sim.designs.bench.spec import BenchDesignSpec

FAMILY = Family("bench", BenchDesignSpec, BareKernel)

__all__ = ["FAMILY", "BareKernel", "BenchDesignSpec"]
