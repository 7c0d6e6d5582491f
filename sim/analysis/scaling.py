"""How the curves of a run scale, as tidy tables: a row a point of a curve, or a row a curve.

All take what `sim.run` returns or the `points` of `read_run`, leave out points that failed, and name a place
by `PLACE`: design, machine, workload, placement and, after a sweep, the swept values as `variant`.

Intervals are Student's t, 95 %, over replicates; NaN where there is one replicate, whose spread nobody knows.
A ratio is taken replicate by replicate, and then averaged. Those of the laws are of another kind: they say
how well the curve determines a parameter (`sim.analysis.laws`).
"""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pandas as pd

from sim.analysis.laws import Estimate, Scaling, fit_laws
from sim.analysis.metrics import knee
from sim.analysis.tables import CURVE_KEYS, THROUGHPUT, averaged, default_baseline, finished, labelled
from sim.analysis.variants import parted
from sim.errors import Fault, InputError

PLACE = (*CURVE_KEYS, "variant")
"""The columns that name a curve."""
_POINT = [*PLACE, "threads"]
PERCENTILES = {"latency_p50_ns": 50, "latency_p95_ns": 95, "latency_p99_ns": 99}
"""Column of a point -> which percentile of the latency of an operation it is."""


def speedup_table(points: pd.DataFrame, value: str = THROUGHPUT) -> pd.DataFrame:
    """How many times the smallest thread count of its curve each point does, and how well it uses threads.

    Columns: those of `PLACE`, `threads`, `speedup` with `low` and `high`, `efficiency` (speed-up over times
    the threads) with `efficiency_low` and `efficiency_high`, `replicates`.
    """
    done = curve_points(points, value)
    least = done.groupby(list(PLACE), sort=False)["threads"].transform("min")
    first = done.loc[done["threads"] == least, [*PLACE, "replicate", "threads", value]]
    paired = done.merge(
        first.rename(columns={value: "first", "threads": "least"}), on=[*PLACE, "replicate"], validate="m:1"
    )
    paired["speedup"] = paired[value] / paired["first"]
    table = averaged(paired, "speedup", [*_POINT, "least"]).rename(columns={"mean": "speedup"})
    times = table["threads"] / table.pop("least")
    table.insert(len(_POINT) + 1, "efficiency", table["speedup"] / times)
    return table.assign(efficiency_low=table["low"] / times, efficiency_high=table["high"] / times)


def ratio_table(points: pd.DataFrame, baseline: str | None = None, value: str = THROUGHPUT) -> pd.DataFrame:
    """Each design's *value* over that of the *baseline* design (by default Linux) at the same place.

    Columns: those of `PLACE`, `threads`, `ratio` with `low` and `high`, `replicates`. The baseline itself and
    places that it has no finished point at have no row. Raises `InputError` for an unknown baseline.
    """
    designs = list(dict.fromkeys(parted(points)["design"]))
    baseline = baseline or default_baseline(designs)
    if baseline not in designs:
        message = "the baseline design is not in this run"
        raise InputError(Fault(message, value=baseline, allowed=", ".join(designs)))
    done = curve_points(points, value)
    same = [key for key in (*_POINT, "replicate") if key != "design"]
    base = done.loc[done["design"] == baseline, [*same, value]].rename(columns={value: "base"})
    paired = done.loc[done["design"] != baseline].merge(base, on=same, validate="m:1")
    paired = paired.assign(ratio=paired[value] / paired["base"])
    return averaged(paired, "ratio", _POINT).rename(columns={"mean": "ratio"})


def replicate_table(points: pd.DataFrame, value: str = THROUGHPUT) -> pd.DataFrame:
    """What the replicates of each point gave: `mean`, `low`, `high`, `replicates`, and `variation`, their
    standard deviation over their mean."""
    done = curve_points(points, value)
    spread = done.groupby(_POINT, sort=False)[value].agg(lambda given: given.std() / given.mean())
    table = averaged(done, value, _POINT)
    return table.merge(spread.rename("variation").reset_index(), on=_POINT, validate="1:1")


def latency_table(points: pd.DataFrame) -> pd.DataFrame:
    """What a run keeps of the distribution of latencies: a row a point and percentile, in ns.

    Columns: those of `PLACE`, `threads`, `percentile` (50, 95, 99), `ns` with `low` and `high`, `replicates`.
    These are three points of each cumulative distribution, and no more is kept.
    """
    tables = [
        averaged(curve_points(points, column), column, _POINT).assign(percentile=percentile)
        for column, percentile in PERCENTILES.items()
        if column in points
    ]
    if not tables:
        return pd.DataFrame(columns=[*_POINT, "percentile", "ns", "low", "high", "replicates"])
    table = pd.concat(tables, ignore_index=True).rename(columns={"mean": "ns"})
    return table[[*_POINT, "percentile", "ns", "low", "high", "replicates"]]


def curve_table(points: pd.DataFrame, value: str = THROUGHPUT) -> pd.DataFrame:
    """One row a curve of at least two thread counts: where it stops scaling, and the laws fitted to it.

    | column | what it says |
    |---|---|
    | `counts`, `threads` | how many thread counts the curve has, and the largest |
    | `knee`, `knee_low`, `knee_high` | `metrics.knee` of the mean; the least and greatest of the replicates |
    | `best_threads` | where the curve is highest, of the counts that were run |
    | `speedup`, `efficiency` | at the largest count, over the smallest |
    | `sigma`, `kappa`, `peak` | of USL, each with `_low`, `_high` and `_determined` |
    | `usl_error`, `amdahl_error` | root mean square of ln(law / curve) |
    | `serial`, `serial_low`, `serial_high`, `serial_determined` | σ of Amdahl's law |

    Laws are NaN for curves of fewer than `laws.LEAST_COUNTS` thread counts.
    """
    done = curve_points(points, value)
    means = averaged(done, value, _POINT)
    rows: list[dict[str, Any]] = []
    for place, curve in means.groupby(list(PLACE), sort=False):
        if len(curve) < 2:
            continue
        curve = curve.sort_values("threads")
        counts, mean = curve["threads"].tolist(), curve["mean"].tolist()
        mine = done.loc[(done[list(PLACE)] == list(place)).all(axis=1)]
        knees = [
            knee(list(zip(one["threads"], one[value], strict=True))) for _, one in mine.groupby("replicate")
        ]
        speedup = mean[-1] / mean[0] if mean[0] > 0 else nan
        rows.append(
            {
                **dict(zip(PLACE, place, strict=True)),
                "counts": len(counts),
                "threads": counts[-1],
                "knee": knee(list(zip(counts, mean, strict=True))),
                "knee_low": min(knees),
                "knee_high": max(knees),
                "best_threads": counts[mean.index(max(mean))],
                "speedup": speedup,
                "efficiency": speedup * counts[0] / counts[-1],
                **_laws(fit_laws(counts, mean)),
            }
        )
    return pd.DataFrame(rows, columns=[*PLACE, *_CURVE])


def curve_points(points: pd.DataFrame, value: str = THROUGHPUT) -> pd.DataFrame:
    """The finished *points* that have a *value*, as a plain frame with the columns of `PLACE`."""
    named = points if "variant" in points else parted(labelled(points))
    done = finished(named).dropna(subset=[value])
    return done.astype({"threads": int, "replicate": int, value: float})


def _laws(found: Scaling | None) -> dict[str, Any]:
    if found is None:
        return {}
    assert found.usl.kappa is not None
    return {
        **_columns("sigma", found.usl.sigma),
        **_columns("kappa", found.usl.kappa),
        **_columns("peak", found.peak),
        "one": found.usl.one,
        "usl_error": found.usl.error,
        **_columns("serial", found.amdahl.sigma),
        "amdahl_error": found.amdahl.error,
    }


def _columns(name: str, estimate: Estimate) -> dict[str, Any]:
    return {
        name: estimate.value,
        f"{name}_low": estimate.low,
        f"{name}_high": estimate.high,
        f"{name}_determined": estimate.determined,
    }


_NONE = Estimate(nan, nan, inf, determined=False)
_CURVE = (
    "counts", "threads", "knee", "knee_low", "knee_high", "best_threads", "speedup", "efficiency",
    *_columns("sigma", _NONE), *_columns("kappa", _NONE), *_columns("peak", _NONE), "one", "usl_error",
    *_columns("serial", _NONE), "amdahl_error",
)  # fmt: skip
