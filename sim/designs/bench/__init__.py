"""Bare hardware and bare allocators: kernels without address spaces, for benches."""

from sim.designs.base import Family
from sim.designs.bench.kernel import kernel_of
from sim.designs.bench.spec import BenchDesignSpec

FAMILY = Family("bench", BenchDesignSpec, kernel_of)

__all__ = ["FAMILY", "BenchDesignSpec", "kernel_of"]
