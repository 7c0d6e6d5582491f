"""Benches: threads on named lines, locks, DRAM and page allocators, without an address space."""

from sim.workload.bench.run import run_bench
from sim.workload.bench.spec import BenchSpec

__all__ = ["BenchSpec", "run_bench"]
