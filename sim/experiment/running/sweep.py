"""Running experiments: points in, a table out, with a folder of results if asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sim.errors import Fault, InputError
from sim.experiment.plan import Experiment, Point, Shard
from sim.experiment.results import Keeper, KeptPoints, Outcome, RunFolder, describe_run, frame
from sim.experiment.running import cluster
from sim.experiment.running.executor import Task, execute
from sim.experiment.running.interrupts import Stop, never
from sim.experiment.running.progress import Progress, Slowest, Tick
from sim.experiment.running.simulation import run_point

if TYPE_CHECKING:
    from pandas import DataFrame


def run(
    experiment: Experiment,
    *,
    out: str | Path | None = None,
    workers: int = 1,
    resume: bool = False,
    retry_failed: bool = False,
    profile: bool = False,
    check: bool = False,
    progress: Progress | None = None,
    task: Task = run_point,
    shard: Shard | None = None,
    scheduler: str | None = None,
    patience: float = cluster.SECONDS_FOR_WORKERS,
    stop: Stop = never,
) -> DataFrame:
    """Run every point of an experiment and return `points.csv` as a data frame, in the experiment's order.

    `attrs["breakdown"]` of the frame is the table of activities. With *profile* each point also tells what
    happened in it and who waited for which lock (`attrs["counters"]`, `attrs["locks"]`). With *check*
    each is held against all invariants while it runs, and fails where it breaks one. With *out* the
    results are also written to that folder, point by point; *resume* continues a run that was stopped there,
    *retry_failed* does so and runs its failed points again. A point that fails is a row with status `failed`.
    *shard* runs a part of the points, to be merged later. With *scheduler*, the address of a dask scheduler,
    a cluster runs the points instead of local *workers*; `ClusterLost` is raised when it dies or is without
    any worker for *patience* seconds. Once *stop* says so running points are finished and kept, and
    `KeyboardInterrupt` is raised. Raises `InputError` if *out* or the cluster cannot be used.
    """
    experiment = replace(experiment, profile=profile, check=check)
    points = experiment.points if shard is None else shard.of(experiment.points)
    if out is None:
        if resume or retry_failed:
            raise InputError(Fault("resume needs a folder", allowed="out=..."))
        return frame(finish(points, workers, progress, None, task, scheduler, patience, stop))
    part = None if shard is None else (shard.index, shard.count)
    manifest = describe_run(experiment, part)
    ids = [point.id for point in points]
    with RunFolder(Path(out), manifest, ids, resume or retry_failed, retry_failed) as folder:
        outcomes = finish(points, workers, progress, folder, task, scheduler, patience, stop)
        folder.close_with(outcomes)
    return frame(outcomes)


def run_points(
    points: Sequence[Point],
    workers: int = 1,
    progress: Progress | None = None,
    task: Task = run_point,
    keep: Path | None = None,
) -> DataFrame:
    """Run any points and return their rows in the same order, as `run` does.

    With *keep* each goes to that folder as it finishes, and those that are there already are not run again.
    Raises `InputError` if the folder cannot be used.
    """
    return frame(outcomes_of(points, workers, progress, task, keep))


def outcomes_of(
    points: Sequence[Point],
    workers: int = 1,
    progress: Progress | None = None,
    task: Task = run_point,
    keep: Path | None = None,
) -> list[Outcome]:
    """`run_points`, and what came of each point instead of a table: for points that no column tells apart."""
    with nullcontext() if keep is None else KeptPoints(keep) as kept:
        return finish(points, workers, progress, kept, task)


def finish(
    points: Sequence[Point],
    workers: int = 1,
    progress: Progress | None = None,
    folder: Keeper | None = None,
    task: Task = run_point,
    scheduler: str | None = None,
    patience: float = cluster.SECONDS_FOR_WORKERS,
    stop: Stop = never,
) -> list[Outcome]:
    """The outcomes of *points*, in order. Those that *folder* knows are not run again; new ones go there."""
    if workers < 1:
        raise InputError(Fault("workers must be at least 1", value=workers))
    wanted = {point.id: point for point in points}
    there = {} if folder is None else folder.known
    known = {key: there[key] for key in wanted if key in there}
    kept = len(known)
    failed = sum(outcome.failed for outcome in known.values())
    todo = [point for key, point in wanted.items() if key not in known]
    timed = [(wanted[key], outcome.seconds) for key, outcome in known.items() if not outcome.failed]
    slowest: Slowest | None = None
    work, worked = sum(point.threads for point in todo), 0

    def report(label: str | None) -> None:
        if progress is not None:
            share = worked / work if work else 1.0
            progress(Tick(len(known), len(wanted), failed, kept, share, label, slowest))

    report(None)
    if scheduler is None:
        running = execute(todo, workers, task, stop, timed)
    else:
        running = cluster.execute(todo, scheduler, task, stop, patience, timed)
    with closing(running) as outcomes, _saying_what_is_there(known, len(wanted)):
        for outcome in outcomes:
            if folder is not None:
                folder.record(outcome)
            known[outcome.point_id] = outcome
            failed += outcome.failed
            worked += outcome.row.threads
            if slowest is None or outcome.seconds > slowest.seconds:
                slowest = Slowest(wanted[outcome.point_id].label, outcome.seconds)
            report(wanted[outcome.point_id].label)
    if len(known) < len(wanted):
        raise KeyboardInterrupt
    return [known[point.id] for point in points]


@contextmanager
def _saying_what_is_there(known: Mapping[str, Outcome], total: int) -> Iterator[None]:
    """A cluster that is lost says how many points it leaves behind."""
    try:
        yield
    except cluster.ClusterLost as error:
        raise cluster.ClusterLost(f"{error}; {len(known)} of {total} points are finished") from error
