"""Running: points to worker processes or a cluster, and their outcomes back."""

from sim.experiment.running.again import experiment_of, is_of_this_model
from sim.experiment.running.cluster import SECONDS_FOR_WORKERS, ClusterLost
from sim.experiment.running.executor import Task, available_cpus, execute
from sim.experiment.running.interrupts import patient
from sim.experiment.running.objects import ObjectProfile, profile_points
from sim.experiment.running.progress import Progress, Style, Tick, meter
from sim.experiment.running.schedule_file import replaying
from sim.experiment.running.simulation import run_point
from sim.experiment.running.sweep import finish, outcomes_of, run, run_points

__all__ = [
    "SECONDS_FOR_WORKERS",
    "ClusterLost",
    "ObjectProfile",
    "Progress",
    "Style",
    "Task",
    "Tick",
    "available_cpus",
    "execute",
    "experiment_of",
    "finish",
    "is_of_this_model",
    "meter",
    "outcomes_of",
    "patient",
    "profile_points",
    "replaying",
    "run",
    "run_point",
    "run_points",
]
