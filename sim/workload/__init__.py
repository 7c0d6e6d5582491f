"""A workload file becomes one generator a thread, and one run of them a measurement."""

from sim.workload.bench import BenchSpec
from sim.workload.demands import lacking, misfit
from sim.workload.pinning import Pinning, order_of
from sim.workload.simulate import Limits, Measurement, simulate
from sim.workload.spec import WorkloadPlan, WorkloadSpec
from sim.workload.window import Reported

__all__ = [
    "BenchSpec",
    "Limits",
    "Measurement",
    "Pinning",
    "Reported",
    "WorkloadPlan",
    "WorkloadSpec",
    "lacking",
    "misfit",
    "order_of",
    "simulate",
]
