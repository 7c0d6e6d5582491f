"""Is the ratio of two runs what Student would say of it, and is a difference only called one if it is?"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from legible import stumbles

from sim.analysis.run_pair import labels_of, pair_figure, ratio_figure
from sim.analysis.two_runs import COLUMNS, TwoRuns, ratio_interval, two_runs
from sim.errors import InputError

Frame = Callable[..., pd.DataFrame]


def replicates(values: list[float], seed: int = 100) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "throughput_ops_per_us": values,
            "replicate": range(len(values)),
            "seed": range(seed, seed + len(values)),
        }
    )


def test_are_replicates_with_the_same_seeds_pairs() -> None:
    """They differ tenfold among themselves, and each gains between 9 and 11 %."""
    first = [1.0, 3.0, 10.0]
    gains = [1.09, 1.10, 1.11]
    ratio, low, high = ratio_interval(
        replicates(first), replicates([one * gain for one, gain in zip(first, gains, strict=True)])
    )
    logs = np.log(gains)
    half = 4.303 * logs.std(ddof=1) / math.sqrt(3)
    assert (ratio, low, high) == pytest.approx(
        tuple(np.exp([logs.mean(), logs.mean() - half, logs.mean() + half]))
    )
    assert 1.07 < low < high < 1.13


def test_are_replicates_of_other_seeds_compared_by_their_means() -> None:
    """The same numbers from other seeds say nothing: how replicates differ is larger than what they gain."""
    first = [1.0, 3.0, 10.0]
    _, low, high = ratio_interval(replicates(first), replicates([1.1 * one for one in first], seed=500))
    assert low < 0.2
    assert high > 5


def test_has_welch_the_interval_of_the_textbook() -> None:
    one, other = replicates([1.0, 1.1, 0.9, 1.05]), replicates([2.0, 2.3, 1.9], seed=7)
    ratio, low, high = ratio_interval(one, other)
    a, b = np.log(one["throughput_ops_per_us"]), np.log(other["throughput_ops_per_us"])
    va, vb = a.var(ddof=1) / 4, b.var(ddof=1) / 3
    degrees = math.floor((va + vb) ** 2 / (va**2 / 3 + vb**2 / 2))
    half = {2: 4.303, 3: 3.182, 4: 2.776}[degrees] * math.sqrt(va + vb)
    middle = b.mean() - a.mean()
    assert (ratio, low, high) == pytest.approx(tuple(np.exp([middle, middle - half, middle + half])))


@pytest.mark.parametrize(("seed", "second"), [(100, [2.0]), (7, [2.0]), (7, [2.0, 2.0])])
def test_has_a_single_replicate_a_ratio_and_no_interval(seed: int, second: list[float]) -> None:
    ratio, low, high = ratio_interval(replicates([1.0]), replicates(second, seed))
    assert ratio == pytest.approx(2)
    assert math.isnan(low)
    assert math.isnan(high)


def test_what_is_called_significant(make_points: Frame) -> None:
    """Linux gains in each replicate; adv only on average; the third does the same to the last digit."""
    points = make_points(designs=("linux-6.13", "adv", "same"), workloads=("pf",), threads=(8,), replicates=3)
    gain = {"linux-6.13": (1.2, 1.21, 1.22), "adv": (0.7, 1.5, 1.1), "same": (1.0, 1.0, 1.0)}
    factors = [gain[row.design][row.replicate] for row in points.itertuples()]
    second = points.assign(throughput_ops_per_us=points["throughput_ops_per_us"] * factors)
    table = two_runs(points, second, {}).table
    assert list(table.columns) == list(COLUMNS)
    found = {(row.design, row.placement): row.significant for row in table.itertuples()}
    assert found == {
        ("linux-6.13", "low"): "yes", ("linux-6.13", "high"): "yes",
        ("adv", "low"): "no", ("adv", "high"): "no", ("same", "low"): "no", ("same", "high"): "no",
    }  # fmt: skip
    same = table.loc[table["design"] == "same"]
    assert (same[["ratio", "ratio_low", "ratio_high"]] == 1).all(axis=None)


def test_is_significance_empty_where_nobody_knows(make_points: Frame) -> None:
    points = make_points(workloads=("pf",), threads=(8,))
    assert set(two_runs(points, points, {}).table["significant"]) == {""}


def test_are_places_of_one_run_alone_counted(make_points: Frame) -> None:
    first = make_points(designs=("a",), workloads=("pf",), placements=("low",), threads=(1, 2, 4))
    second = make_points(designs=("a",), workloads=("pf",), placements=("low",), threads=(2, 4, 8, 16))
    second.loc[second["threads"] == 4, "status"] = "failed"
    result = two_runs(first, second, {})
    assert list(result.table["threads"]) == [2]
    assert (result.only_first, result.only_second) == (2, 2)


def test_are_two_kernels_of_one_run_compared(make_points: Frame) -> None:
    """The second one stands in for the first, which is then left out of the second run."""
    points = make_points(
        designs=("linux-6.13", "linux-6.16"), workloads=("pf",), placements=("low",), threads=(1, 8)
    )
    newer = points["design"] == "linux-6.16"
    points.loc[newer, "throughput_ops_per_us"] *= 1.5
    result = two_runs(points, points, {"linux-6.16": "linux-6.13"})
    assert list(result.table["design"]) == ["linux-6.13"] * 2
    assert list(result.table["ratio"]) == pytest.approx([1.5, 1.5])
    assert (result.only_first, result.only_second) == (2, 0)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"gone": "linux-6.13"}, "nothing is called gone"),
        ({"cortenmm-rw": "linux-6.12"}, "the run has no linux-6.12 .* did you mean 'linux-6.13'"),
    ],
)
def test_is_a_name_that_means_nothing_refused(points, names: dict[str, str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        two_runs(points, points, names)


def test_is_idle_beside_throughput(make_points: Frame) -> None:
    points = make_points(designs=("a",), workloads=("pf",), placements=("low",), threads=(1,), replicates=2)
    first, second = points.assign(idle_share=[0.2, 0.4]), points.assign(idle_share=0.9)
    (row,) = two_runs(first, second, {}).table.to_dict("records")
    assert (row["first_idle_share"], row["second_idle_share"]) == pytest.approx((0.3, 0.9))


# -- figures ------------------------------------------------------------------------------------------------


FEW = {"workloads": ("pf", "mmap"), "threads": (1, 8, 384)}
RUNS: dict[str, Callable[[Frame], TwoRuns]] = {
    "three designs": lambda make: two_runs(
        make(replicates=3, **FEW), make(replicates=3, curve=lambda *_: 1.0, **FEW), {}
    ),
    "alike": lambda make: two_runs(make(workloads=("pf",)), make(workloads=("pf",)), {}),
    "one thread count": lambda make: two_runs(make(threads=(1,)), make(threads=(1,)), {}),
    "one point": lambda make: two_runs(
        make(designs=("a",), workloads=("pf",), placements=("",), threads=(1,)),
        make(designs=("a",), workloads=("pf",), placements=("",), threads=(1,)),
        {},
    ),
}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize(
    "labels", [("base", "patched"), ("results/a-run-of-mine", "b (linux-6.16 as linux-6.13)")]
)
@pytest.mark.ci
def test_can_both_figures_be_read(name: str, labels: tuple[str, str], make_points: Frame) -> None:
    result = RUNS[name](make_points)
    assert stumbles(pair_figure(result, labels, "A title: one beside the other")) == []
    assert stumbles(ratio_figure(result, labels, "A title")) == []


def test_shows_the_figure_what_both_have_in_the_colours_of_always(make_points: Frame) -> None:
    first = make_points(
        designs=("linux-6.13", "nros"), workloads=("pf", "mmap"), placements=("low",), threads=(1, 8)
    )
    second = make_points(designs=("linux-6.13",), workloads=("pf",), placements=("low",), threads=(1, 8, 16))
    figure = pair_figure(two_runs(first, second, {}), ("a", "b"), "t")
    (ax,) = figure.axes
    lines = {
        line.get_label(): line for line in ax.lines if not str(line.get_label()).startswith(("_", "ideal"))
    }
    assert list(lines) == ["Linux 6.13, a", "Linux 6.13, b"]
    assert lines["Linux 6.13, a"].get_color() == "#333333"
    assert list(lines["Linux 6.13, b"].get_xdata()) == [1, 8, 16]


@pytest.mark.parametrize(("gain", "scale"), [(1.02, "linear"), (1.5, "linear"), (40.0, "log")])
def test_is_one_in_the_picture_and_a_small_gain_small(make_points: Frame, gain: float, scale: str) -> None:
    points = make_points(workloads=("pf",), placements=("low",), threads=(1, 8))
    second = points.assign(throughput_ops_per_us=points["throughput_ops_per_us"] * gain)
    (ax,) = ratio_figure(two_runs(points, second, {}), ("a", "b"), "t").axes
    assert ax.get_yscale() == scale
    low, high = ax.get_ylim()
    assert low < 0.95 < 1.05 < high
    assert low < gain < high


@pytest.mark.parametrize(
    ("first", "second", "names", "labels"),
    [
        ("results/a", "results/b", {}, ("a", "b")),
        ("x/a", "y/a", {}, ("x/a", "y/a")),
        ("a", "a", {}, ("first", "second")),
        ("a", "a", {"new": "old"}, ("a", "a (new as old)")),
        (".", "b", {}, (".", "b")),
    ],
)
def test_are_the_runs_told_apart(
    first: str, second: str, names: dict[str, str], labels: tuple[str, str]
) -> None:
    assert labels_of(Path(first), Path(second), names) == labels
