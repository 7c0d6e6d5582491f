"""The plan: from an experiment's spec to the points that it asks for."""

from sim.experiment.plan.check import check_file
from sim.experiment.plan.dry_run import preview
from sim.experiment.plan.experiment import Cell, Experiment, make_point
from sim.experiment.plan.loading import load
from sim.experiment.plan.points import Point, StoredSchedule, Swept, derive_seed
from sim.experiment.plan.selection import choose
from sim.experiment.plan.shards import Shard, parse_shard

__all__ = [
    "Cell",
    "Experiment",
    "Point",
    "Shard",
    "StoredSchedule",
    "Swept",
    "check_file",
    "choose",
    "derive_seed",
    "load",
    "make_point",
    "parse_shard",
    "preview",
]
