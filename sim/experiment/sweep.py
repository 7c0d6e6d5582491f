"""Running experiments: points in, a table out, with a folder of results if asked for."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from sim.errors import Fault, InputError
from sim.experiment.executor import Task, execute, run_point
from sim.experiment.journal import Journal
from sim.experiment.outcome import Outcome
from sim.experiment.plan import Experiment
from sim.experiment.points import Point
from sim.experiment.progress import Progress, Tick
from sim.experiment.store import RunFolder
from sim.experiment.tables import frame

if TYPE_CHECKING:
    from pandas import DataFrame


def run(
    experiment: Experiment,
    *,
    out: str | Path | None = None,
    workers: int = 1,
    resume: bool = False,
    progress: Progress | None = None,
    task: Task = run_point,
) -> DataFrame:
    """Run every point of an experiment and return `points.csv` as a data frame, in the experiment's order.

    `attrs["breakdown"]` of the frame is the table of activities. With *out* the results are also written to
    that folder, point by point; *resume* continues a run that was stopped there. A point that fails is a
    row with status `failed`. Raises `InputError` if *out* cannot be used.
    """
    if out is None:
        if resume:
            raise InputError(Fault("resume needs a folder", allowed="out=..."))
        return run_points(experiment.points, workers, progress, task)
    with RunFolder(Path(out), experiment, resume) as folder:
        outcomes = finish(experiment.points, workers, progress, folder.journal, task)
        folder.close_with(outcomes)
    return frame(outcomes)


def run_points(
    points: Sequence[Point], workers: int = 1, progress: Progress | None = None, task: Task = run_point
) -> DataFrame:
    """Run any points and return their rows in the same order, as `run` does."""
    return frame(finish(points, workers, progress, None, task))


def finish(
    points: Sequence[Point],
    workers: int = 1,
    progress: Progress | None = None,
    journal: Journal | None = None,
    task: Task = run_point,
) -> list[Outcome]:
    """The outcomes of *points*, in order; those in the *journal* are not run again, new ones go into it."""
    if workers < 1:
        raise InputError(Fault("workers must be at least 1", value=workers))
    wanted = {point.id: point for point in points}
    known = {} if journal is None else {key: o for key, o in journal.finished.items() if key in wanted}
    kept = len(known)
    failed = sum(outcome.failed for outcome in known.values())
    todo = [point for key, point in wanted.items() if key not in known]
    work, worked = sum(point.threads for point in todo), 0

    def report(label: str | None) -> None:
        if progress is not None:
            progress(Tick(len(known), len(wanted), failed, kept, worked / work if work else 1.0, label))

    report(None)
    with closing(execute(todo, workers, task)) as outcomes:
        for outcome in outcomes:
            if journal is not None:
                journal.record(outcome)
            known[outcome.point_id] = outcome
            failed += outcome.failed
            worked += outcome.row.threads
            report(wanted[outcome.point_id].label)
    return [known[point.id] for point in points]
