"""Experiments: YAML files -> typed specs -> points -> executor -> store. The only floor that knows files."""

from sim.experiment.executor import available_cpus
from sim.experiment.interrupts import patient
from sim.experiment.outcome import COLUMNS, KEY
from sim.experiment.overrides import Override, parse_choices, parse_names, parse_override
from sim.experiment.plan import Experiment, load, make_point
from sim.experiment.points import Point, derive_seed
from sim.experiment.presets import KINDS, Kind
from sim.experiment.progress import Progress, Tick, meter
from sim.experiment.resolve import Resolved, load_spec
from sim.experiment.shards import Shard
from sim.experiment.spec import ExperimentSpec, LimitsSpec
from sim.experiment.sweep import run, run_points

__all__ = [
    "COLUMNS",
    "KEY",
    "KINDS",
    "Experiment",
    "ExperimentSpec",
    "Kind",
    "LimitsSpec",
    "Override",
    "Point",
    "Progress",
    "Resolved",
    "Shard",
    "Tick",
    "available_cpus",
    "derive_seed",
    "load",
    "load_spec",
    "make_point",
    "meter",
    "parse_choices",
    "parse_names",
    "parse_override",
    "patient",
    "run",
    "run_points",
]
