"""The two throughputs of a run, which one a figure shows, and where they differ.

*Work done* is what all threads completed in the measured window, over its length. What CortenMM's benchmark
computes instead, threads over the mean latency of its measured requests, is larger where threads wait before
or after those requests. A figure shows one of them, says which, and marks where the other is more than
`NOTABLE` off.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sim.analysis.tables import FROM_LATENCY, POINT_KEYS, THROUGHPUT, averaged, finished
from sim.analysis.wording import rate_scale

NOTABLE = 0.10
"""From this relative difference on the other throughput is marked."""
OTHER_LABELS = {
    THROUGHPUT: "threads / mean latency, where it differs by more than 10 %",
    FROM_LATENCY: "operations completed over time, where it differs by more than 10 %",
}
"""What the marks beside the shown throughput are."""


def other_throughput(shown: str) -> str:
    """The column that is not *shown*."""
    return FROM_LATENCY if shown == THROUGHPUT else THROUGHPUT


def with_throughputs(points: pd.DataFrame) -> pd.DataFrame:
    """*points* with both columns as numbers; NaN where a run has none."""
    numbers = {
        name: pd.to_numeric(points[name], errors="coerce").astype(float) if name in points else np.nan
        for name in (THROUGHPUT, FROM_LATENCY)
    }
    return points.assign(**numbers)


def throughput_curves(
    points: pd.DataFrame, shown: str = THROUGHPUT, keys: Sequence[str] = POINT_KEYS
) -> pd.DataFrame:
    """The *shown* throughput of the finished points, `averaged`, and the other as `other`.

    `other` is NaN where it is unknown or not notably different.
    """
    done = with_throughputs(finished(points))
    curves = averaged(done, shown, keys)
    return curves.assign(other=notable(curves, averaged(done, other_throughput(shown), keys), keys))


def notable(shown: pd.DataFrame, other: pd.DataFrame, keys: Sequence[str]) -> pd.Series:
    """The mean of *other* for each row of *shown*, NaN where it is within `NOTABLE` of it."""
    paired = shown.merge(
        other[[*keys, "mean"]], on=list(keys), how="left", suffixes=("", "_other"), validate="one_to_one"
    )
    beside = paired["mean_other"].where(
        (paired["mean_other"] / paired["mean"] - 1).abs() > NOTABLE  # false for NaN
    )
    return beside.set_axis(shown.index)


def throughput_label(shown: str, typical: float, unit: str = "ops/us") -> tuple[float, str]:
    """(factor from *unit*, the label of an axis) for *shown* throughputs around *typical*."""
    factor, what, per = rate_scale(typical, unit)
    over = f" per {per}" if per else ""
    if shown == THROUGHPUT:
        return factor, f"throughput ({what} completed{over})"
    return factor, f"threads / mean latency ({what}{over})"
