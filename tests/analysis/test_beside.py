"""Does a run's figure show what others measured, where they measured it?"""

from __future__ import annotations

import pandas as pd
import pytest
from legible import stumbles

from sim.analysis.beside import FILLED_LABEL, OPEN_LABEL, Comparison, comparisons, measured_figure
from sim.analysis.published import Observation
from sim.analysis.tables import labelled
from sim.analysis.variants import parted
from sim.analysis.wording import placement_title

CLOCK = 2_000_000_000


def row(
    workload: str = "pf",
    tasks: int = 8,
    value: float = 3.0,
    *,
    system: str = "linux-6.13",
    placement: str = "low",
    metric: str = "throughput",
    unit: str = "ops/us",
    use: str = "check",
) -> Observation:
    cells = ("toys", "epyc-9965-guest", system, workload, placement, str(tasks), metric, str(value), unit)
    return Observation(
        dataset="toys",
        machine="epyc-9965-guest",
        system=system,
        workload=workload,
        placement=placement,
        tasks=tasks,
        metric=metric,
        value=value,
        unit=unit,
        exactness="exact",
        tolerance=0.1,
        use=use,
        source="me",
        file="toys.csv",
        line=2,
        cells=cells,
    )


def compare(points: pd.DataFrame, *rows: Observation) -> list[Comparison]:
    return comparisons(parted(points), rows, lambda _: CLOCK)


def test_has_each_measured_workload_a_panel_with_its_dots(points) -> None:
    pf, mmap = compare(
        points, row(), row(tasks=16, value=4.0), row("mmap", system="cortenmm-adv", placement="high")
    )
    assert (pf.title, mmap.title) == ("pf, low contention", "mmap, high contention")
    assert list(pf.dots["x"]) == [8, 16]
    assert list(pf.dots["value"]) == [3.0, 4.0]
    assert set(pf.curves["design"]) == {"linux-6.13"}  # others were not measured here


@pytest.mark.parametrize(
    ("metric", "unit", "of_one_op_per_us"),
    [("throughput", "kops/s", 1000.0), ("latency", "ns", 1000.0), ("latency", "cycles", 2000.0)],
)
def test_are_curves_drawn_in_the_unit_of_the_source(
    make_points, metric: str, unit: str, of_one_op_per_us: float
) -> None:
    points = make_points(threads=(1,), curve=lambda *_: 1.0)
    (panel,) = compare(points, row(tasks=1, metric=metric, unit=unit))
    assert (panel.metric, panel.unit) == (metric, unit)
    assert list(panel.curves["mean"]) == [of_one_op_per_us]


def test_are_workloads_the_axis_where_only_they_vary(make_points) -> None:
    points = make_points(workloads=("a-few", "a-lot", "a-bit"), placements=("",), threads=(36,))
    rows = [row(f"a-{load}", 36, value, placement="") for load, value in (("few", 1), ("bit", 3), ("lot", 2))]
    (panel,) = compare(points, *rows)
    assert panel.title == "a, 36 threads"
    assert panel.names == ("few", "lot", "bit")
    assert dict(zip(panel.dots["value"], panel.dots["x"], strict=True)) == {1: 0, 2: 1, 3: 2}


def test_do_numbered_workloads_stand_at_their_numbers(make_points) -> None:
    names = ("load-2.5GBps", "load-40GBps", "load-10GBps")
    points = make_points(workloads=names, placements=("",), threads=(36,))
    (panel,) = compare(points, *(row(name, 36, 3.0, placement="") for name in names))
    assert (panel.axis, panel.names) == ("offered bandwidth (GB/s)", ())
    assert list(panel.dots["x"]) == [2.5, 40, 10]
    assert set(panel.curves["x"]) == {2.5, 40, 10}


def test_may_a_row_name_workload_and_placement_in_one_word(make_points) -> None:
    """`load-10GBps` is the placement `10GBps` of `load`; `load` alone is none of its placements."""
    placements = ("2.5GBps", "40GBps", "10GBps")
    points = make_points(workloads=("load",), placements=placements, threads=(36,))
    rows = [row(f"load-{name}", 36, 3.0, placement="") for name in placements]
    (panel,) = compare(points, *rows)
    assert list(panel.dots["x"]) == [2.5, 40, 10]
    assert len(panel.curves) == 3
    assert compare(points, row("load-1GBps", 36, 3.0, placement="")) == []


def test_are_rows_of_other_places_left_out(points) -> None:
    assert compare(points, row("gone"), row(system="nros"), row(placement="middling")) == []
    assert compare(points, row(metric="knee_threads", unit="threads"), row(unit="parsecs")) == []
    assert measured_figure(points, [row("gone")]) is None


def test_says_the_legend_which_dots_are_predictions(points) -> None:
    figure = measured_figure(points, [row(), row(tasks=1, use="calibrate"), row("mmap")], "a title")
    assert figure is not None
    assert len(figure.axes) == 2
    (legend,) = figure.legends
    words = [text.get_text() for text in legend.get_texts()]
    assert words[-2:] == [OPEN_LABEL, FILLED_LABEL]
    dots = [line for line in figure.axes[0].lines if line.get_label() == OPEN_LABEL]
    assert [line.get_markerfacecolor() for line in dots] == ["white"]


def test_is_a_sweep_not_held_against_what_was_measured(make_points) -> None:
    points = pd.concat(
        [make_points(threads=(8,)).assign(**{"workload.pinning": way}) for way in ("a", "b")],
        ignore_index=True,
    )
    assert measured_figure(labelled(points), [row()]) is None
    assert measured_figure(make_points(threads=(8,)), [row()]) is not None


def test_stands_the_idle_share_below_the_throughput_of_the_same_panels(make_points) -> None:
    """Up to 100 %, whatever an interval says, and 0 % is a dot; a run that knows none has no such panel."""
    points = make_points(placements=("threads", "processes"), workloads=("mmap", "pf"), replicates=2)
    rows = [
        row(name, tasks, value, placement=placement, metric=metric, unit=unit)
        for metric, unit in (("throughput", "ops/s"), ("idle_share", "%"))
        for name in ("mmap", "pf")
        for placement in ("processes", "threads")
        for tasks, value in ((1, 90.0), (8, 0.0 if metric == "idle_share" else 80.0))
    ]
    known = points.assign(idle_share=[0.99 if number % 2 else 0.5 for number in range(len(points))])
    figure = measured_figure(known, rows, "a title")
    assert figure is not None
    assert stumbles(figure) == []
    labels = [str(ax.get_ylabel()).partition("\n")[0] for ax in figure.axes if ax.get_ylabel()]
    assert labels == ["throughput", "idle, of all cpus (%)"] * 2
    idle = next(ax for ax in figure.axes if "idle" in str(ax.get_ylabel()))
    assert idle.get_title() == "mmap, as processes"
    assert idle.get_ylim()[0] == 0
    assert 100 < idle.get_ylim()[1] < 120
    assert [list(line.get_ydata()) for line in idle.lines if line.get_label() == OPEN_LABEL] == [[90, 0]]
    (band,) = idle.collections
    assert band.get_paths()[0].vertices[:, 1].max() == 100
    other = measured_figure(points.drop(columns="idle_share"), rows, "a title")
    assert other is not None
    assert len(other.axes) == len(figure.axes) - 4


def test_are_modes_of_will_it_scale_called_so() -> None:
    assert [placement_title(name) for name in ("threads", "processes", "low", "", "remote")] == [
        "as threads", "as processes", "low contention", "", "placement remote",
    ]  # fmt: skip
