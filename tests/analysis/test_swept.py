"""Are points of a sweep kept apart in tables and figures?"""

from __future__ import annotations

from colorsys import rgb_to_hsv

import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from sim.analysis.figures import plot_run, scalability_figure, swept_figure, time_figure
from sim.analysis.panels import IDEAL_LABEL
from sim.analysis.style import design_styles
from sim.analysis.sweeping import sweep_of
from sim.analysis.tables import averaged, labelled, swept_columns
from sim.analysis.variants import parted


def test_is_a_swept_value_part_of_the_name_of_what_it_changes(make_points) -> None:
    frames = [
        make_points(threads=(1, 2)).assign(**{"machine.tlb.flush": value}) for value in ("1 ns", "2 ns")
    ]
    points = pd.concat(frames, ignore_index=True)
    assert swept_columns(points) == ["machine.tlb.flush"]
    machine = frames[0]["machine"].iloc[0]
    assert set(labelled(points)["machine"]) == {f"{machine}, flush 1 ns", f"{machine}, flush 2 ns"}
    assert set(averaged(labelled(points))["replicates"]) == {1}


def test_is_a_value_that_does_not_vary_left_out_of_names(make_points) -> None:
    points = make_points(threads=(1, 2)).assign(**{"machine.tlb.flush": "1 ns"})
    assert list(labelled(points)["machine"]) == list(points["machine"])


def swept(make_points, column: str, values: list[object], threads: tuple[int, ...] = (1,)) -> pd.DataFrame:
    frames = [
        make_points(designs=("linux-6.13",), workloads=("pf",), placements=("",), threads=threads).assign(
            **{column: value}
        )
        for value in values
    ]
    return labelled(pd.concat(frames, ignore_index=True))


def test_are_many_swept_numbers_the_axis_in_their_own_order(make_points) -> None:
    points = swept(make_points, "workload.spaces.apart", ["2 MiB", "4 KiB", "64 KiB"])
    sweep = sweep_of(points)
    assert sweep is not None
    assert sweep.axis == "workload.spaces.apart"
    assert [sweep.ticks[x] for x in sorted(sweep.points["x"])] == ["4 KiB", "64 KiB", "2 MiB"]
    assert set(sweep.points["workload"]) == {"pf"}  # the value is on the axis, not in the name


@pytest.mark.parametrize("values", [["a", "b", "c"], [True, False, True], [1, 2]])
def test_are_words_and_few_numbers_no_axis_where_threads_are_one(make_points, values: list[object]) -> None:
    points = swept(make_points, "workload.pinning", values, threads=(1, 2, 4))
    assert sweep_of(points) is None
    assert set(parted(points)["variant"]) == {f"pinning {str(value).lower()}" for value in values}


def test_are_words_the_axis_where_threads_do_not_vary(make_points) -> None:
    sweep = sweep_of(swept(make_points, "workload.pinning", ["far", "near"]))
    assert sweep is not None
    assert (sweep.words, sweep.ticks) == (True, {0: "far", 1: "near"})


def test_is_a_run_without_a_sweep_no_sweep(points) -> None:
    assert sweep_of(points) is None
    assert swept_figure(points) is None


def test_are_two_swept_keys_of_one_name_told_apart(make_points) -> None:
    points = make_points(threads=(1,))
    columns = {"machine.tlb.flush": ["1 ns", "2 ns"], "design.costs.flush": ["3 ns", "4 ns"]}
    for column, values in columns.items():
        points = pd.concat([points.assign(**{column: value}) for value in values], ignore_index=True)
    assert "tlb.flush 1 ns, costs.flush 3 ns" in set(parted(labelled(points))["variant"])


def two_values(make_points, designs: tuple[str, ...]) -> pd.DataFrame:
    frames = [make_points(designs=designs).assign(**{"design.tlb.pcid": on}) for on in (True, False)]
    return labelled(pd.concat(frames, ignore_index=True))


def test_keeps_a_design_its_colour_at_every_value_and_tells_the_values_apart(make_points) -> None:
    points = two_values(make_points, ("linux-6.13", "cortenmm-adv"))
    figure = scalability_figure(points, "with and without")
    assert len(figure.axes) == 10
    for ax in figure.axes:
        lines = {line.get_label(): line for line in ax.lines}
        known = design_styles(["cortenmm-adv"])["cortenmm-adv"]
        assert lines["CortenMM adv, pcid true"].get_color() == known.colour.lower()
        assert lines["CortenMM adv, pcid true"].get_marker() == known.marker
        assert lines["CortenMM adv, pcid false"].get_marker() == known.marker
        looks = {(line.get_color(), line.get_linestyle()) for line in ax.lines}
        assert len(looks) == 5  # two designs at two values, and the ideal
        pale, full = (hue_of(lines[f"CortenMM adv, pcid {on}"].get_color()) for on in ("false", "true"))
        assert pale == pytest.approx(full, abs=0.01)


def hue_of(colour: str) -> float:
    return rgb_to_hsv(*to_rgb(colour))[0]


def test_has_a_legend_each_design_and_each_value_once(make_points) -> None:
    figure = scalability_figure(two_values(make_points, ("linux-6.13", "cortenmm-adv")))
    assert legend_of(figure) == ["Linux 6.13", "CortenMM adv", "pcid true", "pcid false", IDEAL_LABEL]
    alone = scalability_figure(two_values(make_points, ("linux-6.13",)))
    assert legend_of(alone) == ["Linux 6.13, pcid true", "Linux 6.13, pcid false", IDEAL_LABEL]


@pytest.mark.ci
def test_has_a_sweep_its_figure_and_the_curves_over_threads(make_points, make_breakdown, write_run) -> None:
    points = make_points(workloads=("pf",), placements=("low",), threads=(1, 2, 4))
    points = pd.concat(
        [points.assign(**{"workload.layout.leaves": leaves}) for leaves in (1, 16, 64)], ignore_index=True
    )
    names = [path.stem for path in plot_run(write_run(points))[::2]]
    assert names[:3] == ["swept", "scalability", "latency"]


def test_have_throughput_and_latency_of_a_sweep_a_row_each_with_one_scale(make_points) -> None:
    points = make_points(threads=(1, 8), workloads=("pf", "mmap", "unmap"), placements=("low",))
    points = pd.concat(
        [points.assign(**{"workload.layout.leaves": leaves}) for leaves in (1, 16, 64)], ignore_index=True
    )
    figure = swept_figure(labelled(points))
    assert figure is not None
    upper, lower = figure.axes[:3], figure.axes[3:]
    assert upper[0].get_ylabel().startswith("throughput\n(operations completed")
    assert lower[0].get_ylabel() == "median latency (µs)"
    assert len({ax.get_ylim() for ax in upper}) == len({ax.get_ylim() for ax in lower}) == 1
    assert {ax.get_xlabel() for ax in lower} == {"leaves (workload.layout.leaves)"}
    assert "Linux 6.13" in legend_of(figure)
    assert "8 threads" in legend_of(figure)


def test_are_bars_of_a_sweep_named_by_design_and_grouped_by_value(make_points, make_breakdown) -> None:
    points = make_points(workloads=("pf",), placements=("low",), threads=(1, 8))
    frames = [
        make_breakdown(points).assign(**{"machine.coherence.cross_socket": value})
        for value in ("240 ns", "320 ns")
    ]
    figure = time_figure(labelled(pd.concat(frames, ignore_index=True)))
    (ax,) = figure.axes
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["Linux 6.13", "CortenMM rw", "CortenMM adv"] * 4
    words = [text.get_text() for text in ax.texts]
    assert [word for word in words if "thread" in word] == [
        f"{threads}, cross_socket {value} ns" for threads in ("1 thread", "8 threads") for value in (240, 320)
    ]


def legend_of(figure: Figure) -> list[str]:
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]
