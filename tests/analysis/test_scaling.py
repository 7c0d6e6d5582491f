"""Do the tables of scaling say what the points say: speed-ups, ratios, knees, percentiles, replicates?"""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd
import pytest

from sim.analysis import (
    averaged,
    curve_table,
    latency_table,
    ratio_table,
    replicate_table,
    speedup_table,
)
from sim.analysis.scaling import PLACE
from sim.errors import InputError

Make = Callable[..., pd.DataFrame]
COUNTS = (1, 2, 4, 8, 16, 32, 64)
SMALL = {"workloads": ("pf",), "placements": ("low",), "threads": COUNTS}


def saturating(design: str, workload: str, placement: str, threads: int) -> float:
    """Linear to 12 threads, and flat from there on."""
    return float(min(threads, 12))


def test_is_a_speedup_over_the_smallest_count_and_efficiency_a_thread_of_it(make_points: Make) -> None:
    points = make_points(curve=saturating, designs=("linux-6.13",), workloads=("pf",), placements=("low",),
                         threads=(2, 4, 24))  # fmt: skip
    table = speedup_table(points)
    assert list(table["speedup"]) == [1.0, 2.0, 6.0]
    assert list(table["efficiency"]) == [1.0, 1.0, 0.5]
    assert table["low"].isna().all()


def test_has_a_speedup_the_interval_of_its_replicates(make_points: Make) -> None:
    points = make_points(curve=saturating, replicates=3, **SMALL)
    points.loc[(points["threads"] == 64) & (points["replicate"] == 0), "throughput_ops_per_us"] *= 0.9
    last = speedup_table(points).query("threads == 64").iloc[0]
    given = [0.9 * 12, 12.0, 12.0]
    expected = averaged(pd.DataFrame({"place": 1, "x": given}), "x", ["place"]).iloc[0]
    assert (last["speedup"], last["low"], last["high"]) == pytest.approx(
        (expected["mean"], expected["low"], expected["high"])
    )
    assert last["replicates"] == 3


def test_is_a_ratio_to_the_baseline_at_the_same_place(make_points: Make) -> None:
    table = ratio_table(make_points(replicates=2, **SMALL))
    assert set(table["design"]) == {"cortenmm-rw", "cortenmm-adv"}
    one = table.query("design == 'cortenmm-adv' and threads == 1").iloc[0]
    assert (one["ratio"], one["low"], one["high"]) == pytest.approx((1.5, 1.5, 1.5))
    with pytest.raises(InputError, match="not in this run"):
        ratio_table(make_points(**SMALL), "linux-6.12")


def test_are_ratios_of_a_sweep_taken_value_by_value(make_points: Make) -> None:
    points = make_points(**SMALL)
    column = "machine.coherence.cross_socket"
    slow = points.assign(throughput_ops_per_us=points["throughput_ops_per_us"] / 2, **{column: "480 ns"})
    table = ratio_table(pd.concat([points.assign(**{column: "240 ns"}), slow], ignore_index=True))
    assert set(table["variant"]) == {"cross_socket 240 ns", "cross_socket 480 ns"}
    one = table.query("design == 'cortenmm-adv' and threads == 1")
    assert list(one["ratio"]) == pytest.approx([1.5, 1.5])


@pytest.mark.parametrize("end", [3, 10, 33, 64])
def test_is_the_knee_within_one_thread_step(make_points: Make, end: int) -> None:
    points = make_points(
        curve=lambda design, workload, placement, threads: float(min(threads, end)),
        designs=("linux-6.13",), replicates=2, **SMALL,
    )  # fmt: skip
    row = curve_table(points).iloc[0]
    above = next(number for number, count in enumerate(COUNTS) if count >= end)
    assert row["knee"] in COUNTS[max(0, above - 1) : above + 1]
    assert (row["knee_low"], row["knee_high"]) == (row["knee"], row["knee"])
    assert row["best_threads"] == COUNTS[above]


def test_has_a_curve_of_few_counts_a_knee_and_no_law(make_points: Make) -> None:
    points = make_points(workloads=("pf",), placements=("low",), threads=(1, 2, 4))
    table = curve_table(points)
    assert len(table) == 3
    assert table["knee"].notna().all()
    assert table[["sigma", "kappa", "peak", "serial"]].isna().all(axis=None)
    assert curve_table(make_points(threads=(1,))).empty


def test_are_failed_points_no_part_of_a_curve(make_points: Make) -> None:
    points = make_points(designs=("linux-6.13",), **SMALL)
    points.loc[points["threads"] >= 16, "status"] = "failed"
    row = curve_table(points).iloc[0]
    assert (row["counts"], row["threads"]) == (4, 8)
    assert math.isnan(row["sigma"])


def test_are_percentiles_a_row_each_and_nothing_where_there_are_none(make_points: Make) -> None:
    points = make_points(**SMALL)
    table = latency_table(points)
    assert list(table.columns) == [*PLACE, "threads", "percentile", "ns", "low", "high", "replicates"]
    assert len(table) == 3 * len(points)
    one = table.query("design == 'linux-6.13' and threads == 4").set_index("percentile")["ns"]
    assert one[99] / one[50] == pytest.approx(1.2)
    assert latency_table(points.drop(columns=[name for name in points if "latency_p" in name])).empty


def test_do_replicates_say_how_much_they_vary(make_points: Make) -> None:
    row = replicate_table(make_points(replicates=3, designs=("linux-6.13",), **SMALL)).iloc[0]
    assert row["variation"] == pytest.approx(0.04 / 1.04)
    assert row["low"] < row["mean"] < row["high"]
