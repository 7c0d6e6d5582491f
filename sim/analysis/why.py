"""Why two runs differ: what an operation's time went to in each, activity by activity and lock by lock.

    time of an operation = all cpus' time over their operations, waiting included
    change               = second less first; the changes of all activities add up to that of the time

As with throughputs (`two_runs`), replicates with the same seeds are pairs, and a change is *significant* if
zero is not in its 95 % interval. A lock's time is from asking to having it, in all modes; it is part of the
activity of the same name, and known only where both runs were made with `--profile`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from sim.analysis.tables import RunTables, mean_interval
from sim.analysis.two_runs import KEYS, TwoRuns, renamed, welch
from sim.analysis.variants import parted
from sim.analysis.wording import duration

COLUMNS = (
    *KEYS, "kind", "what",
    "first_ns", "second_ns", "change_ns", "change_low_ns", "change_high_ns", "significant",
)  # fmt: skip
"""Of the table. *kind* is `activity` or `lock`; times are of an operation. The row with *what* `all` is the
sum of all activities. Low and high are of the change's 95 % interval, *significant* is `yes`, `no`, or empty
where there is one replicate."""
ALL = "all"
_NAMED = 3
"""Changes that one line of the summary names."""
_LEAST = 0.01
"""Share of the time of an operation that a change must have to be named."""


def reasons(
    first: RunTables,
    second: RunTables,
    names: Mapping[str, str],
    result: TwoRuns,
    locks: Sequence[pd.DataFrame | None] = (None, None),
) -> pd.DataFrame:
    """The table of two runs, by activities and, where both have *locks*, by locks."""
    ours, theirs = of_activities(first.breakdown), of_activities(second.breakdown)
    table = changes(ours, theirs, "activity", names, result)
    one, other = locks
    if one is None or other is None:
        return table
    waits = changes(of_locks(one, first.points), of_locks(other, second.points), "lock", names, result)
    return pd.concat([table, waits], ignore_index=True)


def changes(
    first: pd.DataFrame, second: pd.DataFrame, kind: str, names: Mapping[str, str], result: TwoRuns
) -> pd.DataFrame:
    """What changed at the places of *result*: a row a place and activity, or lock.

    *first* and *second* are the runs' breakdowns, or what `waits` gives: rows of KEYS without the variant,
    seed, replicate, `what` and `ns`. *names* says what the second run calls otherwise.
    """
    ours, theirs = parted(first), renamed(parted(second), names)
    places = {tuple(row) for row in result.table[list(KEYS)].itertuples(index=False)}
    one, other = (_by_place(frame, places) for frame in (ours, theirs))
    rows = []
    for place in result.table[list(KEYS)].itertuples(index=False):
        here, there = one.get(tuple(place)), other.get(tuple(place))
        if here is None or there is None:
            continue
        here, there = here.align(there, join="outer", axis=1, fill_value=0.0)
        for what in here.columns:
            mean, low, high = _change(here[what], there[what])
            significant = "" if math.isnan(low) else "no" if low <= 0 <= high else "yes"
            times = here[what].mean(), there[what].mean()
            rows.append((*place, kind, what, *times, mean, low, high, significant))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def of_activities(breakdown: pd.DataFrame) -> pd.DataFrame:
    """A run's breakdown as `changes` takes it, with the sum of each point as `all`."""
    each = breakdown.rename(columns={"activity": "what", "ns_per_op": "ns"})
    point = [name for name in each.columns if name not in ("what", "ns")]
    total = each.groupby(point, sort=False, observed=True)["ns"].sum().reset_index()
    return pd.concat([total.assign(what=ALL), each], ignore_index=True)


def of_locks(locks: pd.DataFrame, points: pd.DataFrame) -> pd.DataFrame:
    """The waits in a run's `locks.csv` as `changes` takes them. Locks that differ in an address alone are one
    (`vm_lock of *`), and so are the modes of one."""
    point = [name for name in points.columns if name in locks.columns and name not in ("status", "error")]
    counted = locks.merge(points[[*point, "operations"]], on=point, how="inner")
    counted = counted.assign(
        what=counted["lock"].str.replace(r"0x[0-9a-f]+", "*", regex=True),
        ns=counted["wait_ns"] / counted["operations"],
    )
    return counted.groupby([*point, "what"], sort=False, observed=True)["ns"].sum().reset_index()


def summary(table: pd.DataFrame) -> list[str]:
    """What changed most, a line a curve, at the largest number of threads that both runs have."""
    if table.empty:
        return []
    curve = [key for key in KEYS if key != "threads"]
    telling = [key for key in curve if key == "design" or table[key].nunique() > 1]
    lines = ["why, by the time of an operation (waiting included) at the most threads:"]
    for _, group in table.groupby(curve, sort=False, observed=True):
        here = group.loc[group["threads"] == group["threads"].max()]
        lines.append(f"  {_line(here, telling)}")
    return lines


def _line(here: pd.DataFrame, telling: Sequence[str]) -> str:
    """The time of an operation at one place in both runs, and what changed most."""
    first = here.iloc[0]
    where = ", ".join(str(first[key]) for key in telling if first[key] != "")
    total = here.loc[(here["kind"] == "activity") & (here["what"] == ALL)].iloc[0]
    words = f"{where}, {first['threads']} threads: {duration(total['first_ns'])} an operation -> "
    words += duration(total["second_ns"])
    found = False
    for kind, named in (("activity", ""), ("lock", "; by lock ")):
        parts = here.loc[(here["kind"] == kind) & (here["what"] != ALL) & (here["significant"] != "no")]
        large = parts["change_ns"].abs() >= _LEAST * max(total["first_ns"], total["second_ns"])
        parts = parts.loc[large].sort_values("change_ns", key=abs, ascending=False, kind="stable")
        told = [f"{row['what']} {_signed(row['change_ns'])}" for row in parts.to_dict("records")[:_NAMED]]
        if told:
            words += (named if found else ": " + named.lstrip("; ")) + ", ".join(told)
            found = True
    return words if found else f"{words}: no part changed by 1 % of it{_for_sure(here)}"


def _for_sure(here: pd.DataFrame) -> str:
    return "" if (here["significant"] == "").all() else " for sure"


def _signed(change: float) -> str:
    return ("+" if change > 0 else "-") + duration(abs(change))


def _by_place(frame: pd.DataFrame, places: set[tuple[object, ...]]) -> dict[tuple[object, ...], pd.DataFrame]:
    """Place -> its replicates (index: replicate and seed) by what took the time; absent is no time."""
    found = {}
    for place, group in frame.groupby(list(KEYS), sort=False, observed=True):
        if tuple(place) in places:
            found[tuple(place)] = group.pivot_table(
                index=["replicate", "seed"], columns="what", values="ns", aggfunc="sum", sort=False
            ).fillna(0.0)
    return found


def _change(first: pd.Series[float], second: pd.Series[float]) -> tuple[float, float, float]:
    """The mean of *second* less that of *first*, and its 95 % interval."""
    if first.index.equals(second.index):
        return mean_interval([float(gain) for gain in second - first])
    return welch(list(first), list(second))
