"""What would be gained without it: points of a run once more, with one thing less at a time.

    a point's breakdown    which locks and costs take a part of an operation; the design's switches
    each of them           taken away alone, with the same seeds as the point itself
    gain                   throughput without over throughput with, paired seed by seed
    the best five          two at a time: is the gain of both more or less than the product?

It is a causal profile: not where time goes, but what becomes of the throughput when it does not go there.
Profilers of real programs have to slow everything else down for that; here the thing itself is taken away.

A lock is first made not to exist. If the model cannot do without its exclusion (the run breaks a rule), it
stays, and what threads wait for it is given back to them: an estimate (`sim.sync.without`). What leaves the
first replicate as it was, number by number, is not simulated further.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any, cast

from sim.analysis.changes import (
    Change,
    Way,
    candidates,
    changed_point,
    parse_change,
    read_catalogue,
    together,
)
from sim.analysis.stored import BREAKDOWN, read_table, swept, typed
from sim.analysis.tables import BREAKDOWN_COLUMNS, mean_interval
from sim.analysis.whatif_reasons import misfit, reason
from sim.errors import Fault, InputError
from sim.experiment import Point, Progress, choose, experiment_of, make_point, outcomes_of

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from sim.experiment import Cell, Experiment, Outcome

LEAST_SHARE = 0.01
"""Part of an operation's time from which on an activity is looked at."""
TOP = 5
"""So many of the best are tried two at a time."""
PLACE = ("machine", "design", "workload", "placement", "threads")
COLUMNS = (
    *PLACE, "swept", "without", "title", "kind", "share", "replicates", "with_ops_per_us",
    "without_ops_per_us", "gain", "gain_low", "gain_high", "largest", "largest_share", "product",
    "interaction_low", "interaction_high", "remark",
)  # fmt: skip
"""Of the table. *share* is what the activities that the thing is a part of had of an operation's time: all of
it is the lock's, but a cost may be a part only. *gain* is a ratio of throughputs less 1, with its 95 %
interval, *largest* the activity that takes most of an operation then. Two things at once have the *product*
of their gains, less 1, and the interval of what they gain beyond it (a ratio less 1)."""


@dataclass(frozen=True)
class Place:
    """A point of the run, whatever its replicate, and what is taken away there."""

    cell: Cell
    changes: tuple[Change, ...]
    misfits: tuple[tuple[Change, str], ...] = ()
    """Switches that the design's other values do not allow, and why."""

    @property
    def label(self) -> str:
        cell = self.cell
        swept = "".join(f", {path} {value}" for path, value in cell.assignment.swept)
        placement = f" {cell.placement}" if cell.placement else ""
        threads = f"{cell.threads} thread{'s' if cell.threads > 1 else ''}"
        return f"{cell.design.name}, {cell.workload.name}{placement}, {threads} on {cell.machine.name}{swept}"


@dataclass(frozen=True)
class Plan:
    """What will be simulated."""

    experiment: Experiment
    places: tuple[Place, ...]
    replicates: int
    top: int = TOP

    @property
    def runs(self) -> tuple[int, int]:
        """How many points are simulated: at least, if no change does anything, and at most."""
        least = sum(self.replicates + len(place.changes) for place in self.places)
        most = 0
        for place in self.places:
            pairs = math.comb(min(self.top, len(place.changes)), 2)
            locks = sum(change.way is Way.EXACT for change in place.changes)
            each = self.replicates
            most += each * (1 + len(place.changes) + locks) + 2 * pairs + (2 * (each - 1) if pairs else 0)
        return least, most


@dataclass
class Trial:
    """One thing less at one place: what came of it, replicate by replicate."""

    place: Place
    change: Change
    points: list[Point] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    refused: str = ""
    """Why the lock could not be made not to exist."""

    @property
    def failed(self) -> str:
        """Why the first replicate that failed did, in words; "" if none did."""
        return next((reason(outcome, self.change) for outcome in self.outcomes if outcome.failed), "")


def gains(
    folder: Path,
    points: Sequence[str] = (),
    without: Sequence[str] = (),
    *,
    replicates: int = 3,
    top: int = TOP,
    workers: int = 1,
    progress: Progress | None = None,
    keep: Path | None = None,
) -> pd.DataFrame:
    """`cortensim whatif` in Python: the table (`COLUMNS`) of the run in *folder*.

    *points* and *without* are what `--point` and `--without` say. Raises `InputError` for what is not there.
    """
    experiment, _ = experiment_of(folder)
    catalogue = read_catalogue()
    asked = [parse_change(text, catalogue) for text in without]
    wanted = plan(experiment, breakdowns(folder), catalogue, points, asked, replicates, top)
    return carry_out(wanted, workers, progress, keep)


def plan(
    experiment: Experiment,
    breakdown: Mapping[tuple[Any, ...], Mapping[str, float]],
    catalogue: Mapping[str, Change],
    points: Sequence[str] = (),
    asked: Sequence[Change] = (),
    replicates: int = 3,
    top: int = TOP,
    least: float = LEAST_SHARE,
) -> Plan:
    """What to simulate: at the points that *points* chooses, by default those with most threads of each
    curve.

    *breakdown* is what the run has of each place (`place_of`): ns an operation by activity. Without anything
    *asked* for, it tells what is taken away. Raises `InputError` for points that the run has not, values that
    a file refuses, and what no chosen point has.
    """
    cells = _chosen(experiment, points)
    seed, places, unused = experiment.spec.seed, [], dict.fromkeys(change.name for change in asked)
    for cell in cells:
        here = breakdown.get(place_of(cell))
        if here is None:
            continue
        wanted = asked or candidates(here, cell.design, catalogue, least)
        found: list[Change] = []
        misfits: list[tuple[Change, str]] = []
        for change in wanted:
            try:
                if changed_point(cell, change, seed, 0) is None:
                    continue
            except InputError as error:
                if asked:
                    raise
                misfits.append((change, misfit(error)))  # another kernel's, which needs more than itself
                continue
            found.append(change)
            unused.pop(change.name, None)
        places.append(Place(cell, tuple(found), tuple(misfits)))
    if not places:
        raise InputError(Fault("none of these points has finished", allowed="points that the run has"))
    if unused:
        message = "none of these points has it, or all are without it already"
        raise InputError([Fault(message, f"--without {name}") for name in unused])
    return Plan(experiment, tuple(places), replicates, top)


def place_of(cell: Cell) -> tuple[Any, ...]:
    """What names a place in the tables of a run."""
    swept = tuple(str(value) for _, value in cell.assignment.swept)
    return (cell.machine.name, cell.design.name, cell.workload.name, cell.placement, cell.threads, *swept)


def breakdowns(folder: Path) -> dict[tuple[Any, ...], dict[str, float]]:
    """The breakdown of the run in *folder* by place (`place_of`): ns an operation, replicates averaged.

    Raises `InputError` where the table is absent or is none.
    """
    table = typed(read_table(folder, BREAKDOWN), BREAKDOWN_COLUMNS)
    keys = [*PLACE, *swept([str(name) for name in table.columns])]
    found: dict[tuple[Any, ...], dict[str, float]] = {}
    for name, rows in table.groupby(keys, sort=False):
        values: list[Any] = list(cast("tuple[Any, ...]", name))
        sums = rows.groupby("activity", sort=False)["ns_per_op"].sum() / rows["replicate"].nunique()
        key = (*values[:4], int(values[4]), *map(str, values[5:]))
        found[key] = {str(activity): float(ns) for activity, ns in sums.items()}
    return found


def _chosen(experiment: Experiment, texts: Sequence[str]) -> list[Cell]:
    """The cells of the points that *texts* choose."""
    names = {_name_of(point) for point in choose(experiment.points, texts)}
    cells = [cell for cell in experiment.cells if _name_of(cell) in names]
    if texts:
        return cells
    last: dict[tuple[Any, ...], Cell] = {}
    for cell in cells:
        curve = _name_of(cell)[:4] + _name_of(cell)[5:]
        if curve not in last or cell.threads > last[curve].threads:
            last[curve] = cell
    return list(last.values())


def _name_of(what: Cell | Point) -> tuple[Any, ...]:
    if isinstance(what, Point):
        return (what.machine, what.design, what.workload, what.placement, what.threads, what.swept)
    names = (what.machine.name, what.design.name, what.workload.name)
    return (*names, what.placement, what.threads, what.assignment.swept)


# -- simulating ---------------------------------------------------------------------------------------------


@dataclass
class _Runner:
    """Simulates replicates of trials, all that is asked for at once."""

    plan: Plan
    run: Callable[[Sequence[Point]], list[Outcome]]

    def measure(self, wanted: Sequence[tuple[Trial, int]]) -> None:
        """Add outcomes to trials until each has as many replicates as is *wanted* of it."""
        spec = self.plan.experiment.spec
        todo: list[tuple[Trial, Point]] = []
        for trial, replicates in wanted:
            for replicate in range(len(trial.points), replicates):
                cell, change = trial.place.cell, trial.change
                point = changed_point(
                    cell, change, spec.seed, replicate, budget=spec.budget, schedule=spec.schedule
                )
                if point is None:  # nothing is taken away
                    point = make_point(
                        cell.machine, cell.design, cell.workload, cell.placement, cell.threads, spec.seed,
                        replicate, spec.budget, cell.assignment.swept, spec.schedule,
                    )  # fmt: skip
                trial.points.append(point)
                todo.append((trial, point))
        outcomes = self.run([point for _, point in todo]) if todo else []
        for (trial, _), outcome in zip(todo, outcomes, strict=True):
            trial.outcomes.append(outcome)

    def settle(self, trials: Sequence[Trial], replicates: int) -> None:
        """Measure *trials*; those whose locks the model needs keep them, and get their waiting back."""
        self.measure([(trial, replicates) for trial in trials])
        again = []
        for trial in trials:
            if trial.failed and trial.change.as_estimate() != trial.change:
                trial.refused, trial.change = trial.failed, trial.change.as_estimate()
                trial.points, trial.outcomes = [], []
                again.append((trial, replicates))
        self.measure(again)


NONE = Change("", "", Way.COST)
"""Nothing is taken away."""


def carry_out(
    plan: Plan, workers: int = 1, progress: Progress | None = None, keep: Path | None = None
) -> pd.DataFrame:
    """Simulate *plan*; the table has the columns `COLUMNS`, the points themselves first at each place.

    Raises `InputError` if the folder *keep* cannot be used.
    """
    import pandas as pd

    runner = _Runner(plan, lambda points: outcomes_of(points, workers, progress, keep=keep))
    bases = [Trial(place, NONE) for place in plan.places]
    trials = {id(base): [Trial(base.place, change) for change in base.place.changes] for base in bases}
    runner.measure([(base, plan.replicates) for base in bases])
    alive = [base for base in bases if not base.failed]
    every = [trial for base in alive for trial in trials[id(base)]]
    runner.settle(every, 1)
    moved = [
        trial for base in alive for trial in trials[id(base)] if not trial.failed and _moved(base, trial)
    ]
    runner.settle(moved, plan.replicates)
    pairs = {id(base): _pairs(base, trials[id(base)], plan.top) for base in alive}
    runner.settle([pair for base in alive for pair in pairs[id(base)]], 1)
    best = {}
    for base in alive:
        good = [pair for pair in pairs[id(base)] if not pair.failed]
        if good:
            best[id(base)] = max(good, key=lambda pair: _ratio(base, pair))
    runner.settle(list(best.values()), plan.replicates)
    rows = []
    for base in bases:
        rows.append(_base_row(base))
        if base.failed:
            continue
        mine = [_row(base, trial) for trial in trials[id(base)]]
        rows += sorted(mine, key=lambda row: (math.isnan(row["gain"]), -row["gain"]))
        rows += [_misfit_row(base, change, why) for change, why in base.place.misfits]
        if id(base) in best:
            rows.append(_pair_row(base, best[id(base)], trials[id(base)]))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _moved(base: Trial, trial: Trial) -> bool:
    """Whether the first replicate is another one without it."""
    one, other = base.outcomes[0], trial.outcomes[0]
    return (one.row.throughput_ops_per_us, one.breakdown) != (
        other.row.throughput_ops_per_us,
        other.breakdown,
    )


def _pairs(base: Trial, trials: Sequence[Trial], top: int) -> list[Trial]:
    """The best *top* that gain, two at a time, where they are not about the same."""
    gains = [trial for trial in trials if trial.outcomes and not trial.failed and _ratio(base, trial) > 1]
    gains.sort(key=lambda trial: -_ratio(base, trial))
    return [
        Trial(base.place, together(one.change, other.change), refused=one.refused or other.refused)
        for one, other in combinations(gains[:top], 2)
        if not _paths(one.change) & _paths(other.change)
    ]


def _paths(change: Change) -> set[object]:
    """What it is about: values of files, locks, lines."""
    return {value.path for value in change.values} | {*change.locks, *change.lines}


# -- the table ----------------------------------------------------------------------------------------------


def _logs(trial: Trial) -> list[float]:
    return [math.log(outcome.row.throughput_ops_per_us or math.nan) for outcome in trial.outcomes]


def _ratio(base: Trial, trial: Trial) -> float:
    return math.exp(_gain(base, trial)[0])


def _gain(base: Trial, trial: Trial) -> tuple[float, float, float]:
    """The mean logarithm of the ratio, seed by seed, and its interval."""
    return mean_interval([now - before for before, now in zip(_logs(base), _logs(trial), strict=False)])


def _mean(trial: Trial) -> float:
    values = [outcome.row.throughput_ops_per_us or 0.0 for outcome in trial.outcomes]
    return math.fsum(values) / len(values)


def _largest(trial: Trial) -> tuple[str, float]:
    """The activity that takes most of an operation, and its share."""
    shares = _shares(trial)
    name = max(shares, key=lambda activity: shares[activity])
    return name, shares[name]


def _shares(trial: Trial) -> dict[str, float]:
    """Activity -> its part of an operation's time, over the replicates."""
    sums: dict[str, float] = {}
    for outcome in trial.outcomes:
        for activity, ns in outcome.breakdown.items():
            sums[activity] = sums.get(activity, 0.0) + ns
    total = math.fsum(sums.values())
    return {activity: ns / total for activity, ns in sums.items()}


def _named(place: Place) -> dict[str, Any]:
    cell = place.cell
    swept = ", ".join(f"{path}={value}" for path, value in cell.assignment.swept)
    values = (cell.machine.name, cell.design.name, cell.workload.name, cell.placement, cell.threads)
    return dict(zip(PLACE, values, strict=True)) | {"swept": swept}


def _base_row(base: Trial) -> dict[str, Any]:
    row: dict[str, Any] = _named(base.place) | {"without": "", "title": "as it is", "kind": "", "gain": 0.0}
    row |= {"share": math.nan, "replicates": len(base.outcomes), "remark": base.failed}
    if not base.failed:
        largest, share = _largest(base)
        row |= {"with_ops_per_us": _mean(base), "largest": largest, "largest_share": share}
    return row


def _row(base: Trial, trial: Trial) -> dict[str, Any]:
    change = trial.change
    row: dict[str, Any] = _named(base.place) | {
        "without": change.name,
        "title": change.title,
        "kind": str(change.way),
        "share": math.fsum(share for name, share in _shares(base).items() if change.takes_from(name))
        if change.activities
        else math.nan,
        "replicates": len(trial.outcomes),
        "with_ops_per_us": _mean(base),
        "gain": math.nan,
        "remark": f"cannot be taken away: {trial.failed}" if trial.failed else "",
    }
    if trial.failed:
        return row
    if trial.refused:
        row["remark"] = f"the model needs the lock: {trial.refused}"
    elif not _moved(base, trial):
        row["remark"] = "changes nothing here"
    mean, low, high = (math.exp(value) - 1 for value in _gain(base, trial))
    largest, share = _largest(trial)
    return row | {
        "without_ops_per_us": _mean(trial),
        "gain": mean,
        "gain_low": low,
        "gain_high": high,
        "largest": largest,
        "largest_share": share,
    }


def _misfit_row(base: Trial, change: Change, why: str) -> dict[str, Any]:
    """The row of a switch that was not simulated."""
    row: dict[str, Any] = _named(base.place) | {"without": change.name, "title": change.title}
    return row | {
        "kind": str(change.way), "share": math.nan, "replicates": 0, "gain": math.nan,
        "remark": f"not tried: {why}",
    }  # fmt: skip


def _pair_row(base: Trial, pair: Trial, trials: Sequence[Trial]) -> dict[str, Any]:
    """The row of two at once, with what they gain beyond the product of each alone."""
    names = [part.name for part in pair.change.both]
    alone = [next(trial for trial in trials if trial.change.name == name) for name in names]
    logs = zip(*(_logs(trial) for trial in (base, pair, *alone)), strict=False)
    beyond = mean_interval([both + before - one - other for before, both, one, other in logs])
    product = math.exp(math.fsum(_gain(base, trial)[0] for trial in alone)) - 1
    return _row(base, pair) | {
        "product": product,
        "interaction_low": math.exp(beyond[1]) - 1,
        "interaction_high": math.exp(beyond[2]) - 1,
    }


def verdict(row: Mapping[str, Any]) -> str:
    """What a pair's row says of its parts, in words."""
    low, high = row["interaction_low"], row["interaction_high"]
    if math.isnan(low):
        return "one replicate does not tell whether that is luck"
    if low <= 0 <= high:
        return "as much as the product"
    return "more than the product" if low > 0 else "less than the product"
