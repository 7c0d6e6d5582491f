"""What this floor asks of the floors below it: a typed model for a kind of file, and one simulation.

The only place that reaches down, and only when asked: reading a list of presets must not load the model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from sim.errors import InputError

if TYPE_CHECKING:
    from sim.designs import DesignSpec
    from sim.engine import Probe, Schedule
    from sim.errors import Fault
    from sim.experiment.points import Point
    from sim.experiment.presets import Kind
    from sim.hardware import MachineSpec
    from sim.plugins import Part, Plugin
    from sim.profile import RunReport
    from sim.workload import Measurement, WorkloadSpec

_MODEL_FLOORS = ("engine", "hardware", "sync", "mm", "designs", "workload")


def families() -> Sequence[str]:
    """The design families that are installed, whether or not their packages can be imported."""
    from sim.designs import families

    return families()


def parts_of(design: DesignSpec) -> Sequence[Part]:
    """What a design takes from plug-ins."""
    from sim.designs import parts_of

    return parts_of(design)


def refusal(plugin: Plugin) -> str | None:
    """Why a plug-in cannot be used, if so."""
    from sim.designs import refusal

    return refusal(plugin)


def model(kind: Kind, family: str | None = None) -> type[BaseModel]:
    """The typed model of a kind of file; that of a design and of a workload depends on its *family*.

    Raises `InputError` for the family of a plug-in that cannot be used.
    """
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


def design_models() -> Mapping[str, type[BaseModel]]:
    """The model of each design family, but for those of plug-ins that cannot be used."""
    models: dict[str, type[BaseModel]] = {}
    for family in families():
        with suppress(InputError):
            models[family] = model("design", family)
    return models


def models(kind: Kind) -> list[type[BaseModel]]:
    """All typed models that a kind of file may be read into."""
    if kind == "design":
        return [model(kind), *design_models().values()]
    return [model(kind), model(kind, "bench")] if kind == "workload" else [model(kind)]


def foresee(
    machine: MachineSpec, workload: WorkloadSpec, placement: str, counts: Sequence[int]
) -> Fault | None:
    """Why a workload cannot run on a machine with these numbers of threads; the key is the workload's."""
    from sim.workload import foresee

    return foresee(machine, workload, placement, counts)


def never_works(workload: WorkloadSpec, placement: str) -> Fault | None:
    """Why a workload can run on no machine and with no number of threads, if so."""
    from sim.workload import never_works

    return never_works(workload, placement)


def lacking(design: DesignSpec, workload: WorkloadSpec) -> list[str]:
    """What a workload needs and a design does not offer, by name."""
    from sim.workload import lacking

    return lacking(design, workload)


def simulate(point: Point, schedule: Schedule, *listeners: Probe) -> Measurement:
    """Simulate one point under *schedule*, the rule of its own or what records that, and tell *listeners*."""
    from sim.engine import listen
    from sim.workload import Limits, simulate

    return simulate(
        point.machine_spec,
        point.design_spec,
        point.workload_spec,
        placement=point.placement,
        threads=point.threads,
        seed=point.seed,
        schedule=schedule,
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


def code_version(parts: Sequence[Part]) -> str:
    """A fingerprint of all code that results of a design depend on: the model and what *parts* come from."""
    plugins = (part.plugin for part in parts)
    return "+".join([model_version(), *(plugin.digest[:16] for plugin in plugins if plugin)])
