"""Are points of a sweep kept apart in tables and figures?"""

from __future__ import annotations

import pandas as pd
import pytest

from sim.analysis.figures import swept_figure
from sim.analysis.sweeping import sweep_of
from sim.analysis.tables import averaged, labelled, swept_columns


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
def test_are_threads_the_axis_of_words_and_of_few_numbers(make_points, values: list[object]) -> None:
    points = swept(make_points, "workload.pinning", values, threads=(1, 2, 4))
    sweep = sweep_of(points)
    assert sweep is not None
    assert sweep.axis == "threads"
    assert set(sweep.points["label"]) == {f"pinning {value}" for value in values}


def test_is_a_run_without_a_sweep_no_sweep(points) -> None:
    assert sweep_of(points) is None
    assert swept_figure(points) is None


def test_has_each_line_the_same_colour_in_every_panel(make_points) -> None:
    frames = [make_points(designs=("linux-6.13",)).assign(**{"machine.tlb.pcid": on}) for on in (True, False)]
    figure = swept_figure(labelled(pd.concat(frames, ignore_index=True)), "with and without")
    assert figure is not None
    colours = [{line.get_label(): line.get_color() for line in ax.lines} for ax in figure.axes]
    assert len(colours) == 10
    assert all(colour == colours[0] for colour in colours)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["pcid True", "pcid False"]
