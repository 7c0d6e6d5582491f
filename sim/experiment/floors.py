"""What this floor asks of the floors below it: a typed model for a kind of file, and one simulation.

The only place that reaches down, and only when asked: reading a list of presets must not load the model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

if TYPE_CHECKING:
    from sim.designs import DesignSpec
    from sim.engine import Probe
    from sim.errors import Fault
    from sim.experiment.points import Point
    from sim.experiment.presets import Kind
    from sim.hardware import MachineSpec
    from sim.profile import RunReport
    from sim.workload import Measurement, WorkloadSpec

_MODEL_FLOORS = ("engine", "hardware", "sync", "mm", "designs", "workload")


def families() -> Sequence[str]:
    """The design families that are installed."""
    from sim.designs import families

    return families()


def model(kind: Kind, family: str | None = None) -> type[BaseModel]:
    """The typed model of a kind of file; that of a design and of a workload depends on its *family*."""
    if kind == "machine":
        from sim.hardware import MachineSpec

        return MachineSpec
    if kind == "design":
        from sim.designs import DesignSpec, spec_model

        return spec_model(family) if family else DesignSpec
    if kind == "workload":
        from sim.workload import BenchSpec, WorkloadSpec

        return BenchSpec if family == "bench" else WorkloadSpec
    from sim.experiment.spec import ExperimentSpec

    return ExperimentSpec


def misfit(machine: MachineSpec, workload: WorkloadSpec, placement: str, threads: int) -> Fault | None:
    """Why a workload cannot run on a machine, if it cannot; the fault's key is the workload's."""
    from sim.workload import misfit

    return misfit(machine, workload, placement, threads)


def lacking(design: DesignSpec, workload: WorkloadSpec) -> str | None:
    """What a workload needs and a design does not offer, if anything."""
    from sim.workload import lacking

    return lacking(design, workload)


def simulate(point: Point, *listeners: Probe) -> Measurement:
    """Simulate one point and tell *listeners* of it."""
    from sim.engine import listen
    from sim.workload import Limits, simulate

    return simulate(
        point.machine_spec,
        point.design_spec,
        point.workload_spec,
        placement=point.placement,
        threads=point.threads,
        seed=point.seed,
        limits=Limits(events=point.limits.events, simulated_ps=point.limits.simulated_time),
        probe=listen(*listeners),
    )


def run_report() -> RunReport:
    """A new report of a point."""
    from sim.profile import RunReport

    return RunReport()


def lock_columns() -> Sequence[str]:
    """The columns of a report's table of locks."""
    from sim.profile import COLUMNS

    return COLUMNS


@cache
def model_version() -> str:
    """A fingerprint of the model's own source: results of two different models never mix in one run."""
    package = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for floor in _MODEL_FLOORS:
        for source in sorted((package / floor).rglob("*.py")):
            digest.update(str(source.relative_to(package)).encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
