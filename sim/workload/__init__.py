"""A workload file becomes one generator a thread, and one run of them a measurement."""

from sim.workload.demands import foresee, lacking, misfit, never_works
from sim.workload.old_form import in_new_form
from sim.workload.pinning import Pinning, order_of
from sim.workload.plan import WorkloadPlan
from sim.workload.simulate import Budget, Measurement, simulate
from sim.workload.spec import WorkloadSpec
from sim.workload.window import Reported

__all__ = [
    "Budget",
    "Measurement",
    "Pinning",
    "Reported",
    "WorkloadPlan",
    "WorkloadSpec",
    "foresee",
    "in_new_form",
    "lacking",
    "misfit",
    "never_works",
    "order_of",
    "simulate",
]
