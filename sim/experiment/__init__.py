"""Experiments: from a grid of points to worker processes and to tables."""

from sim.experiment.executor import available_cpus
from sim.experiment.interrupts import patient
from sim.experiment.outcome import COLUMNS, KEY
from sim.experiment.plan import Experiment, load, make_point
from sim.experiment.points import Point, derive_seed
from sim.experiment.progress import Progress, Tick, meter
from sim.experiment.shards import Shard
from sim.experiment.sweep import run, run_points

__all__ = [
    "COLUMNS",
    "KEY",
    "Experiment",
    "Point",
    "Progress",
    "Shard",
    "Tick",
    "available_cpus",
    "derive_seed",
    "load",
    "make_point",
    "meter",
    "patient",
    "run",
    "run_points",
]
