"""How evenly the work of a point is shared out among its cpus: `cpus.csv` of a run with a profile.

Of the cpus on which measured threads run, cpu i does x_i operations in the measured window; n of them.

| column | definition | even | one cpu does all |
|---|---|---|---|
| `jain` | (sum x_i)^2 / (n sum x_i^2), Jain's index | 1 | 1/n |
| `max_over_min` | largest x_i over the smallest; infinite where a cpu does nothing | 1 | infinite |
| `variation` | standard deviation of all x_i (over n, not n - 1) over their mean | 0 | sqrt(n - 1) |
| `gini` | sum over all pairs (i, j) of abs(x_i - x_j), over 2 n^2 times the mean | 0 | 1 - 1/n |

jain is 1 / (1 + variation^2). Counts are whole: with 16 operations a cpu, one more or less is 6 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from sim.analysis.scaling import PLACE
from sim.analysis.tables import averaged, labelled
from sim.analysis.variants import parted

MEASURES = ("jain", "max_over_min", "variation", "gini")
_POINT = [*PLACE, "threads"]
Operations: TypeAlias = "Sequence[float] | pd.Series[Any]"
"""How many operations each cpu did."""


def jain(operations: Operations) -> float:
    """Jain's index of fairness; NaN where nothing was done."""
    each = np.asarray(operations, dtype=float)
    squares = float((each**2).sum())
    return float(each.sum()) ** 2 / (len(each) * squares) if squares else nan


def max_over_min(operations: Operations) -> float:
    """The most that a cpu does over the least; NaN where nothing was done."""
    most, least = max(operations), min(operations)
    return most / least if least else inf if most else nan


def variation(operations: Operations) -> float:
    """The coefficient of variation; NaN where nothing was done."""
    each = np.asarray(operations, dtype=float)
    mean = float(each.mean())
    return float(each.std()) / mean if mean else nan


def gini(operations: Operations) -> float:
    """The Gini coefficient; NaN where nothing was done."""
    each = np.sort(np.asarray(operations, dtype=float))
    count, whole = len(each), float(each.sum())
    if not whole:
        return nan
    ranks = np.arange(1, count + 1)
    return float(((2 * ranks - count - 1) * each).sum()) / (count * whole)


def fairness_table(cpus: pd.DataFrame) -> pd.DataFrame:
    """The measures of each point: a row a place and thread count; *cpus* is `cpus.csv`.

    Columns: those of `PLACE`, `threads`, `cpus` that measured threads ran on, and the `MEASURES`, of which
    each is taken replicate by replicate and then averaged; `jain_low` and `jain_high` bound its 95 % interval
    (NaN for one replicate), `replicates`.
    """
    named = cpus if "variant" in cpus else parted(labelled(cpus))
    mine = named.loc[named["measured"] > 0]
    groups = mine.groupby([*_POINT, "replicate"], sort=False)["operations"]
    of_each = {"jain": jain, "max_over_min": max_over_min, "variation": variation, "gini": gini}
    parts = [groups.size().rename("cpus"), *(groups.apply(of).rename(name) for name, of in of_each.items())]
    each = pd.concat(parts, axis=1).reset_index()
    if each.empty:
        return pd.DataFrame(columns=[*_POINT, "cpus", *MEASURES, "jain_low", "jain_high", "replicates"])
    table = averaged(each, "jain", _POINT).rename(
        columns={"mean": "jain", "low": "jain_low", "high": "jain_high"}
    )
    others = each.groupby(_POINT, sort=False)[["cpus", *MEASURES[1:]]].mean().reset_index()
    table = table.merge(others, on=_POINT, validate="1:1").astype({"cpus": int})
    return table[[*_POINT, "cpus", *MEASURES, "jain_low", "jain_high", "replicates"]]
