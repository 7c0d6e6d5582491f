"""Points once more with listeners that say by name which locks and lines were used, and by whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sim.errors import ModelError
from sim.experiment import model
from sim.experiment.plan import Point
from sim.experiment.results import Outcome, frame, frame_of, rows_of_points
from sim.experiment.running.progress import Progress
from sim.experiment.running.simulation import run_point
from sim.experiment.running.sweep import finish

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class ProfiledOutcome(Outcome):
    """A point that was profiled by object: its row is that of any run. *objects* is table -> rows."""

    objects: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


@dataclass(frozen=True)
class ObjectProfile:
    """The locks and lines of some points: data frames, with the columns that name a point in front.

    *points* and *breakdown* are those of a run. The others are described in docs/profile.md.
    """

    points: DataFrame
    locks: DataFrame
    holds: DataFrame
    operations: DataFrame
    waits_for: DataFrame
    root_causes: DataFrame
    lines: DataFrame
    rows: list[dict[str, str]]
    """The rows of `points.csv` as they would be written."""

    @property
    def breakdown(self) -> DataFrame:
        """Nanoseconds per operation by activity."""
        breakdown: DataFrame = self.points.attrs["breakdown"]
        return breakdown

    @property
    def tables(self) -> dict[str, DataFrame]:
        """All tables of objects by name."""
        return {name: getattr(self, name) for name in model.object_columns()}


def profile_point(point: Point) -> Outcome:
    """`run_point` with a listener; a point that fails has no tables."""
    from sim.profile import Objects, tables

    objects = Objects()
    outcome = run_point(point, listeners=[objects])
    if outcome.failed:
        return outcome
    return ProfiledOutcome(**vars(outcome), objects=tables(objects.total))


def profile_points(
    points: Sequence[Point], workers: int = 1, progress: Progress | None = None
) -> ObjectProfile:
    """Simulate *points* and say who used which lock and line in them.

    Raises `ModelError` where none of them could be simulated.
    """
    outcomes = finish(points, workers, progress, task=profile_point)
    profiled = [outcome for outcome in outcomes if isinstance(outcome, ProfiledOutcome)]
    if not profiled:
        raise ModelError(
            f"no point could be simulated: {outcomes[0].row.error if outcomes else 'there is none'}"
        )
    found = {
        name: frame_of([(outcome, row) for outcome in profiled for row in outcome.objects[name]], columns)
        for name, columns in model.object_columns().items()
    }
    return ObjectProfile(points=frame(outcomes), rows=rows_of_points(outcomes), **found)
