"""A workload file becomes one generator a thread, and one run of them a measurement."""

from sim.workload.bench import BenchSpec
from sim.workload.demands import foresee, lacking, misfit, never_works
from sim.workload.pinning import Pinning, order_of
from sim.workload.simulate import Budget, Measurement, simulate
from sim.workload.spec import WorkloadPlan, WorkloadSpec
from sim.workload.window import Reported

__all__ = [
    "BenchSpec",
    "Budget",
    "Measurement",
    "Pinning",
    "Reported",
    "WorkloadPlan",
    "WorkloadSpec",
    "foresee",
    "lacking",
    "misfit",
    "never_works",
    "order_of",
    "simulate",
]
