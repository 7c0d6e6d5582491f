"""Does a figure say which throughput it shows, and mark where the other one differs?"""

from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import sim
from sim.analysis.curves import scalability_figure
from sim.analysis.ratios import one_thread_figure
from sim.analysis.tables import FROM_LATENCY, THROUGHPUT
from sim.analysis.throughput import OTHER_LABELS, throughput_curves


@pytest.fixture
def both(make_points) -> pd.DataFrame:
    """1 operation per µs; by latency 9 % more with 2 threads, 12 % with 8, a ninth less with 64."""
    points = make_points(
        designs=("linux-6.13",), workloads=("pf",), placements=("low",), threads=(1, 2, 8, 64),
        curve=lambda *_: 1.0,
    )  # fmt: skip
    return points.assign(**{FROM_LATENCY: [1.0, 1.09, 1.12, 1 - 1 / 9]})


def marks(ax: Axes) -> dict[float, float]:
    """What hollow circles stand at."""
    hollow = [line for line in ax.lines if line.get_markerfacecolor() == "white" and line.get_marker() == "o"]
    return {x: y for line in hollow for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)}


def legend_of(figure: Figure) -> list[str]:
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def test_is_the_other_throughput_marked_where_it_differs_by_more_than_a_tenth(both) -> None:
    figure = scalability_figure(both)
    (ax,) = figure.axes
    assert marks(ax) == {8: 1.12, 64: 1 - 1 / 9}
    assert legend_of(figure)[-1] == OTHER_LABELS[THROUGHPUT]
    low, high = ax.get_ylim()
    assert low < 1 - 1 / 9
    assert high > 1.12


@pytest.mark.parametrize("absent", ["the column", "its values", "as text"])
def test_is_nothing_marked_where_a_run_has_one_throughput(both, absent: str) -> None:
    points = both.drop(columns=FROM_LATENCY)
    if absent != "the column":
        points[FROM_LATENCY] = None if absent == "its values" else ""
    figure = scalability_figure(points)
    assert marks(figure.axes[0]) == {}
    assert OTHER_LABELS[THROUGHPUT] not in legend_of(figure)


def test_is_the_other_the_mean_of_its_replicates(both) -> None:
    twice = pd.concat([both, both.assign(replicate=1, **{FROM_LATENCY: 1.4})], ignore_index=True)
    curves = throughput_curves(twice).set_index("threads")
    assert curves["other"].to_dict() == pytest.approx({1: 1.2, 2: 1.245, 8: 1.26, 64: 1.1444}, rel=1e-3)


def test_may_a_notebook_choose_which_throughput_is_shown(both) -> None:
    ax = Figure().subplots()
    sim.plot.scalability(both, ax=ax, value=FROM_LATENCY)
    assert ax.get_ylabel() == "threads / mean latency (operations per µs)"
    (line,) = [line for line in ax.lines if line.get_label() == "Linux 6.13"]
    assert list(line.get_ydata()) == [1.0, 1.09, 1.12, 1 - 1 / 9]
    assert marks(ax) == {8: 1.0, 64: 1.0}
    with pytest.raises(ValueError, match="no throughput 'events': choose one of throughput_ops_per_us"):
        sim.plot.scalability(both, value="events")
    with pytest.raises(ValueError, match="no finished point has a throughput_from_latency"):
        sim.plot.scalability(both.drop(columns=FROM_LATENCY), ax=Figure().subplots(), value=FROM_LATENCY)


def test_is_a_ratio_marked_where_the_other_throughput_gives_another(make_points) -> None:
    points = make_points(workloads=("pf",), placements=("low",), threads=(1,))
    better = points["design"].map({"linux-6.13": 1.0, "cortenmm-rw": 1.05, "cortenmm-adv": 2.0})
    figure = one_thread_figure(points.assign(**{FROM_LATENCY: points[THROUGHPUT] * better}))
    (mark,) = marks(figure.axes[0]).values()
    assert mark == pytest.approx(3.0)
    assert OTHER_LABELS[THROUGHPUT] in legend_of(figure)
