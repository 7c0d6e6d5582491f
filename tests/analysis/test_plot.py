"""Do the notebook charts take what `sim.run` returns and give matplotlib Axes?"""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import sim

mpl.use("Agg")


@pytest.fixture(autouse=True)
def no_figure_stays_open() -> Iterator[None]:
    yield
    from matplotlib import pyplot

    pyplot.close("all")


@pytest.fixture
def returned(make_points, make_breakdown) -> pd.DataFrame:
    """A frame like the one `sim.run` returns, with pandas' nullable integers and its breakdown."""
    points = make_points(workloads=("pf", "unmap"), threads=(1, 4, 16))
    frame = points.astype({"threads": "Int64", "seed": "Int64", "replicate": "Int64", "design": "object"})
    frame.attrs["breakdown"] = make_breakdown(points)
    return frame


@pytest.mark.parametrize("chart", ["scalability", "relative", "breakdown"])
def test_does_a_whole_run_give_axes_in_a_figure_of_its_own(returned, chart: str) -> None:
    from matplotlib import pyplot

    ax = getattr(sim.plot, chart)(returned)
    assert isinstance(ax, Axes)
    assert ax.figure.number in pyplot.get_fignums()
    assert len(ax.figure.axes) == (1 if chart == "relative" else 4)


@pytest.mark.parametrize("chart", ["scalability", "relative", "breakdown"])
def test_is_one_panel_drawn_where_the_caller_says(returned, chart: str) -> None:
    ax = Figure().subplots()
    one = returned.query("workload == 'pf' and placement == 'high'")
    assert getattr(sim.plot, chart)(one, ax=ax) is ax
    assert ax.get_legend() is not None


@pytest.mark.parametrize("chart", ["scalability", "breakdown"])
def test_is_a_caller_with_too_many_panels_told_what_to_do(returned, chart: str) -> None:
    with pytest.raises(ValueError, match="4 panels"):
        getattr(sim.plot, chart)(returned, ax=Figure().subplots())


def test_shows_a_filtered_run_only_the_time_of_its_own_points(returned) -> None:
    ax = sim.plot.breakdown(returned.query("design == 'cortenmm-adv' and workload == 'pf'"))
    assert {label.get_text() for label in ax.get_yticklabels()} == {"CortenMM adv"}
    assert [panel.get_title().strip() for panel in ax.figure.axes] == ["pf", "pf"]


def test_may_the_breakdown_table_stand_for_itself(returned) -> None:
    assert isinstance(sim.plot.breakdown(returned.attrs["breakdown"]), Axes)


def test_is_a_frame_without_a_breakdown_told_so(returned) -> None:
    returned.attrs.clear()
    with pytest.raises(ValueError, match="neither a breakdown table"):
        sim.plot.breakdown(returned)


def test_may_the_baseline_be_chosen(returned) -> None:
    ax = sim.plot.relative(returned, baseline="cortenmm-rw")
    assert ax.get_ylabel() == "work done relative to CortenMM rw\n(operations completed)"


@pytest.mark.parametrize(("chart", "panels"), [("ratio", 4), ("time_over_threads", 12)])
def test_does_a_chart_over_threads_have_all_panels(returned, chart: str, panels: int) -> None:
    assert len(getattr(sim.plot, chart)(returned).figure.axes) == panels


def test_is_a_ratio_without_anything_to_compare_told_so(returned) -> None:
    from matplotlib import pyplot

    with pytest.raises(ValueError, match="nothing of this kind"):
        sim.plot.ratio(returned.query("design == 'cortenmm-adv'"))
    assert not pyplot.get_fignums()


def test_are_measurements_drawn_beside_the_points_that_they_are_of(returned) -> None:
    from sim.analysis import read_published
    from sim.analysis.published import default_files, renamed

    row = next(row for row in read_published(default_files()) if row.metric == "throughput")
    here = renamed(row, returned["machine"].iloc[0], "cortenmm-adv", "pf", "low")
    ax = sim.plot.measured(returned, [here])
    assert any(list(line.get_ydata()) and len(line.get_xdata()) == 1 for line in ax.lines)
    with pytest.raises(ValueError, match="nothing of this kind"):
        sim.plot.measured(returned, [])
