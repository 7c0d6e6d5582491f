"""Profile by object: the points of a run, simulated again with listeners, and what their locks and lines say.

The rows that come out are held against those of the run: with the model that made it they are the same text.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from sim.analysis.stored import POINTS
from sim.experiment import (
    KEY,
    Experiment,
    ObjectProfile,
    Point,
    Progress,
    choose,
    experiment_of,
    is_of_this_model,
    profile_points,
)
from sim.files import write_atomically

_STEPS = "events"
"""The column that is not measured: the engine's steps. Writes to entries that nobody else sees are one step,
and one each if somebody listens to lines (`sim.mm.quiet_writes`)."""

Verdict = Literal["same", "different", "other model", "nothing to compare"]
"""How the rows of the profiled points are to those of the run."""


@dataclass(frozen=True)
class RunProfile:
    """The profile of some points of a run, and whether these gave again what they had given."""

    profile: ObjectProfile
    verdict: Verdict

    @property
    def says(self) -> str:
        """The verdict in a sentence."""
        return {
            "same": "the profiled points gave the rows of the run again, to the byte",
            "different": "the profiled points gave other rows than the run has, though the model is the same",
            "other model": "the model has changed since the run: the profile is of the model as it is now",
            "nothing to compare": "the run has no row of these points: it is not finished",
        }[self.verdict]


def profile_run(
    folder: Path, texts: Sequence[str] = (), workers: int = 1, progress: Progress | None = None
) -> RunProfile:
    """Profile those points of the run in *folder* for which one of *texts* holds (`choose`); without any, the
    ones of `largest`.

    Raises `InputError` where there is no finished run or no such point.
    """
    experiment, manifest = experiment_of(folder)
    points = choose(experiment.points, texts) if texts else largest(experiment.points)
    profile = profile_points(points, workers, progress)
    if not is_of_this_model(manifest):
        return RunProfile(profile, "other model")
    return RunProfile(profile, _verdict(profile.rows, folder / POINTS))


def profile_of(
    run: str | Path | Experiment,
    points: Sequence[str] = (),
    workers: int = 1,
) -> ObjectProfile:
    """Locks and cache lines by name, of a finished *run* (its folder) or of an experiment: data frames.

    *points* are texts such as `design=linux-6.13,threads=64`; without any, the largest thread count of each
    machine, design, workload and placement is profiled.
    """
    if isinstance(run, Experiment):
        chosen = choose(run.points, points) if points else largest(run.points)
        return profile_points(chosen, workers)
    return profile_run(Path(run), points, workers).profile


def largest(points: Sequence[Point]) -> tuple[Point, ...]:
    """The point with most threads of each machine, design, workload, placement and swept values; the first of
    its replicates."""
    found: dict[object, Point] = {}
    for point in points:
        place = point.machine, point.design, point.workload, point.placement, point.swept
        if place not in found or point.threads > found[place].threads:
            found[place] = point
    return tuple(point for point in points if any(point is one for one in found.values()))


def write_tables(profile: ObjectProfile, folder: Path) -> list[Path]:
    """Write a CSV file for each table. Raises `OSError`."""
    written = []
    for name, table in profile.tables.items():
        path = folder / f"{name}.csv"
        write_atomically(path, partial(table.to_csv, index=False, lineterminator="\n"))
        written.append(path)
    return written


def _verdict(rows: Sequence[dict[str, str]], path: Path) -> Verdict:
    if not path.exists():
        return "nothing to compare"
    with path.open(encoding="utf-8", newline="") as stream:
        there = list(csv.DictReader(stream))
    names = [*KEY, *(name for name in (rows[0] if rows else ()) if "." in name)]
    known = {tuple(row.get(name) for name in names): row for row in there}
    pairs = [(row, known.get(tuple(row[name] for name in names))) for row in rows]
    if any(theirs is None for _, theirs in pairs):
        return "nothing to compare"
    measured = [name for name in (rows[0] if rows else ()) if name != _STEPS]
    alike = all(
        theirs is not None and [theirs.get(name) for name in measured] == [row[name] for name in measured]
        for row, theirs in pairs
    )
    return "same" if alike else "different"
