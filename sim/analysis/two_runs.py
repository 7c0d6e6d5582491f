"""Two runs side by side: how much faster the second one is at each place, and whether that is more than luck.

Where both runs have the same seeds their replicates are pairs: both faced the same random layouts, so only
what a replicate gains counts, not how replicates differ. Else the two means are compared (Welch). Ratios are
averaged as logarithms, so that twice and half cancel, and their 95 % interval is that of Student's t.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from sim.analysis.names import names_in, refuse_strangers, refuse_unknown
from sim.analysis.tables import POINT_KEYS, THROUGHPUT, finished, mean_interval, student_t_95
from sim.analysis.variants import parted

KEYS = (*POINT_KEYS, "variant")
COLUMNS = (
    *KEYS, "first_ops_per_us", "second_ops_per_us", "ratio", "ratio_low", "ratio_high", "significant",
    "first_replicates", "second_replicates", "first_idle_share", "second_idle_share",
)  # fmt: skip
"""Of the table. *ratio* is second over first, low and high its 95 % interval; it is *significant* (`yes`,
`no`, empty where nobody knows) if 1 is not in it. Idle shares are of all cpus of the machine."""


@dataclass(frozen=True)
class TwoRuns:
    """*table* has a row a place that both runs finished; *first* and *second* are their points as they are
    compared, and so many places are *only_first* and *only_second*."""

    table: pd.DataFrame
    first: pd.DataFrame
    second: pd.DataFrame
    only_first: int
    only_second: int


def two_runs(first: pd.DataFrame, second: pd.DataFrame, names: Mapping[str, str]) -> TwoRuns:
    """Compare the points of two runs; *names* says what the second run calls otherwise.

    What the second run itself calls by such a new name is left out: another one has taken its place. Raises
    `InputError` for a name that means nothing.
    """
    refuse_unknown(names, names_in(parted(second)))
    refuse_strangers(names, names_in(parted(first)))
    first, second = parted(first), renamed(parted(second), names)
    ours, theirs = _by_place(first), _by_place(second)
    rows = []
    for place, one in ours.items():
        if (other := theirs.get(place)) is None:
            continue
        ratio, low, high = ratio_interval(one, other)
        rows.append(
            (
                *place, one[THROUGHPUT].mean(), other[THROUGHPUT].mean(), ratio, low, high,
                "" if math.isnan(low) else "no" if low <= 1 <= high else "yes",
                len(one), len(other), _idle(one), _idle(other),
            )
        )  # fmt: skip
    common = sum(place in theirs for place in ours)
    return TwoRuns(
        pd.DataFrame(rows, columns=list(COLUMNS)), first, second, len(ours) - common, len(theirs) - common
    )


def ratio_interval(first: pd.DataFrame, second: pd.DataFrame) -> tuple[float, float, float]:
    """The throughput of *second* over that of *first*, and its 95 % interval, NaN for a single replicate.

    Both are the replicates of one place.
    """
    one, other = (
        frame.set_index("replicate")[[THROUGHPUT, "seed"]].sort_index() for frame in (first, second)
    )
    logs, other_logs = ([math.log(value) for value in frame[THROUGHPUT]] for frame in (one, other))
    if one.index.equals(other.index) and list(one["seed"]) == list(other["seed"]):
        gains = [theirs - ours for ours, theirs in zip(logs, other_logs, strict=True)]
        mean, low, high = mean_interval(gains)
    else:
        mean, low, high = welch(logs, other_logs)
    return math.exp(mean), math.exp(low), math.exp(high)


def welch(one: Sequence[float], other: Sequence[float]) -> tuple[float, float, float]:
    """Mean of *other* less mean of *one*, and its 95 % interval, with Welch's degrees of freedom."""
    difference = math.fsum(other) / len(other) - math.fsum(one) / len(one)
    if min(len(one), len(other)) < 2:
        return difference, math.nan, math.nan
    parts = [(_variance(values) / len(values), len(values) - 1) for values in (one, other)]
    total = sum(part for part, _ in parts)
    if not total:
        return difference, difference, difference
    degrees = total**2 / sum(part**2 / count for part, count in parts)
    half = student_t_95(max(1, math.floor(degrees))) * math.sqrt(total)
    return difference, difference - half, difference + half


def _variance(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _by_place(points: pd.DataFrame) -> dict[tuple[object, ...], pd.DataFrame]:
    """The replicates of each place that have a throughput."""
    done = finished(points)
    done = done.loc[done[THROUGHPUT] > 0]
    return dict(iter(done.groupby(list(KEYS), sort=False, observed=True)))


def _idle(points: pd.DataFrame) -> float:
    return float(points["idle_share"].mean()) if "idle_share" in points else math.nan


def renamed(points: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """*points* of the second run with the names of the first."""
    for column in ("machine", "design", "workload", "placement"):
        here = {old: new for old, new in names.items() if (points[column] == old).any()}
        replaced = set(here.values()) - set(here)
        points = points.loc[~points[column].isin(replaced)]
        points = points.assign(**{column: points[column].replace(here)})
    return points
