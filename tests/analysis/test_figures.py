"""Can a reader tell what each figure shows: labels, legend, colours, and what is missing?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import sim
from sim.analysis.activities import MOST_GROUPS
from sim.analysis.figures import (
    nearest_threads,
    one_thread_figure,
    panel_rows,
    plot_run,
    scalability_figure,
    time_figure,
)
from sim.analysis.published import default_files, read_published
from sim.analysis.style import design_styles, spread_ticks
from sim.analysis.tables import read_run
from sim.analysis.wording import design_title, duration, plain_number
from sim.errors import InputError

PNG = b"\x89PNG"


def legend_of(figure: Figure) -> list[str]:
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def test_has_the_paper_grid_a_row_a_placement_and_a_column_a_workload(points) -> None:
    axes = scalability_figure(points).axes
    assert [ax.get_title() for ax in axes] == ["mmap", "mmap-pf", "pf", "unmap-virt", "unmap"] * 2
    assert axes[0].get_ylabel() == "low contention\nthroughput (ops/µs)"
    assert axes[5].get_ylabel() == "high contention\nthroughput (ops/µs)"
    assert {ax.get_xlabel() for ax in axes[5:]} == {"threads"}
    assert {(ax.get_xscale(), ax.get_yscale()) for ax in axes} == {("log", "log")}
    assert len({ax.get_ylim() for ax in axes}) == 1


def test_is_there_one_legend_with_the_designs_first_and_the_ideal_last(points) -> None:
    figure = scalability_figure(points)
    assert legend_of(figure) == ["Linux 6.13", "CortenMM rw", "CortenMM adv", "ideal linear"]
    assert all(ax.get_legend() is None for ax in figure.axes)


def test_does_each_curve_show_its_points_in_its_own_colour(points) -> None:
    ax = scalability_figure(points).axes[0]
    lines = {line.get_label(): line for line in ax.lines}
    assert to_hex(lines["Linux 6.13"].get_color()) == design_styles(["linux-6.13"])["linux-6.13"].colour
    drawn = points.query("workload == 'mmap' and placement == 'low' and design == 'cortenmm-adv'")
    np.testing.assert_allclose(lines["CortenMM adv"].get_ydata(), drawn["throughput_ops_per_us"])
    ideal = lines["ideal linear"]
    assert ideal.get_linestyle() == ":"
    assert ideal.get_ydata()[1] / ideal.get_ydata()[0] == pytest.approx(384)


def test_do_replicates_get_a_band_and_single_runs_none(make_points) -> None:
    assert not scalability_figure(make_points()).axes[0].collections
    assert len(scalability_figure(make_points(replicates=3)).axes[0].collections) == 3


def test_does_a_figure_say_how_many_points_failed(points) -> None:
    broken = points.copy()
    broken.loc[:4, "status"] = "failed"
    title = scalability_figure(broken, "mine").get_suptitle()
    assert "mine" in title
    assert "5 of 360 points failed" in title


def test_is_a_panel_without_any_finished_point_labelled_so(points) -> None:
    broken = points.copy()
    broken.loc[(broken["workload"] == "pf") & (broken["placement"] == "low"), "status"] = "failed"
    panel = scalability_figure(broken).axes[2]
    assert [text.get_text() for text in panel.texts] == ["no finished point"]


@pytest.mark.parametrize(
    ("count", "shape"), [(1, [1]), (2, [2]), (5, [5]), (6, [3, 3]), (7, [4, 3]), (11, [4, 4, 3])]
)
def test_does_a_long_row_wrap_evenly(make_points, count: int, shape: list[int]) -> None:
    points = make_points(workloads=[f"w{n}" for n in range(count)], placements=("",), threads=(1, 2))
    assert [len(row) for row in panel_rows(points)] == shape
    assert len(scalability_figure(points).axes) == count


def test_are_machines_kept_apart(make_points) -> None:
    both = pd.concat([make_points(threads=(1, 4)), make_points(threads=(1, 2), machine="small")])
    axes = scalability_figure(both).axes
    assert len(axes) == 20
    assert axes[10].get_ylabel() == "small\nlow contention\nthroughput (ops/µs)"
    assert len(one_thread_figure(both).axes) == 2


def test_are_bars_relative_to_linux_with_the_published_ratio_on_them(points) -> None:
    figure = one_thread_figure(points, published=read_published(default_files()))
    (ax,) = figure.axes
    assert ax.get_ylabel() == "throughput relative to Linux 6.13"
    assert [text.get_text() for text in ax.get_xticklabels()] == [
        "mmap",
        "mmap-pf",
        "pf",
        "unmap-virt",
        "unmap",
    ]
    assert [round(bar.get_height(), 3) for bar in ax.patches] == [1.2] * 5 + [1.5] * 5
    assert legend_of(figure) == ["CortenMM rw", "CortenMM adv", "published"]
    marks = [line.get_ydata()[0] for line in ax.lines if line.get_label() == "published"]
    assert sorted(marks) == [0.808, 0.969, 1.078, 1.185, 1.224, 1.284, 1.468, 1.536, 1.56, 1.769]
    assert figure.get_suptitle() == "1 thread, low contention"


def test_has_a_run_of_one_design_a_figure_too(make_points) -> None:
    figure = one_thread_figure(make_points(designs=("cortenmm-adv",)))
    assert figure.axes[0].texts[0].get_text() == "no design beside CortenMM adv"


def test_is_each_time_bar_whole_and_its_duration_written(breakdown) -> None:
    figure = time_figure(breakdown)
    ax = figure.axes[0]
    ends = [bar.get_x() + bar.get_width() for bar in ax.patches]
    assert max(ends) == pytest.approx(100)
    assert sum(bar.get_width() for bar in ax.patches) == pytest.approx(9 * 100)
    words = [text.get_text() for text in ax.texts]
    assert words[:3] == ["1 thread", "64 threads", "384 threads"]
    assert len(words) == 3 + 9
    assert ax.get_yticklabels()[0].get_text() == "Linux 6.13"
    assert len(legend_of(figure)) <= MOST_GROUPS


def test_are_the_nearest_thread_counts_taken() -> None:
    assert nearest_threads([1, 2, 4, 8, 16], (1, 64, 384)) == [1, 16]
    assert nearest_threads([2, 48, 96, 192], (1, 64, 384)) == [2, 48, 192]


def test_keeps_a_design_its_look_whatever_else_is_drawn() -> None:
    alone = design_styles(["my-idea"])["my-idea"]
    known = design_styles(["linux-6.13", "cortenmm-adv", "my-idea"])
    assert known["my-idea"] == alone
    assert len({style.colour for style in known.values()}) == 3


def test_do_a_dozen_strangers_never_break_a_figure() -> None:
    names = [f"idea-{n}" for n in range(12)]
    styles = design_styles(names)
    assert list(styles) == names
    assert len(set(styles.values())) == 8


def test_are_ticks_never_crowded() -> None:
    assert spread_ticks([1, 2, 4, 8, 16, 32, 64, 128, 192, 256, 320, 384]) == [1, 4, 16, 64, 384]
    assert spread_ticks([7]) == [7]


def test_are_names_and_numbers_written_for_people() -> None:
    assert design_title("linux-6.13") == "Linux 6.13"
    assert design_title("my-own-idea") == "my own-idea"
    assert [duration(ns) for ns in (0.5, 850, 1234, 5.6e6, 2e9)] == [
        "0.5 ns",
        "850 ns",
        "1.23 µs",
        "5.6 ms",
        "2 s",
    ]
    assert [plain_number(x) for x in (0.366, 12, 4100, 28123, 2.3e7)] == [
        "0.366",
        "12",
        "4100",
        "28.1 k",
        "23 M",
    ]


def test_are_a_run_s_figures_written_with_the_main_one_first(write_run, points, breakdown, tmp_path) -> None:
    paths = plot_run(write_run(points, breakdown), tmp_path / "new" / "folder")
    assert [path.name for path in paths] == [
        "scalability.png",
        "scalability.svg",
        "latency.png",
        "latency.svg",
        "one-thread.png",
        "one-thread.svg",
        "where-time-goes.png",
        "where-time-goes.svg",
    ]
    assert all(path.read_bytes().startswith(PNG) for path in paths[::2])


def test_does_a_real_run_draw_under_its_own_title(tmp_path: Path) -> None:
    experiment = sim.load("quickstart", {"threads": [1, 2]})
    points = sim.run(experiment, out=tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert run.title == experiment.spec.title
    assert len(run.points) == len(points)
    assert (tmp_path / "run" / "plots" / "scalability.png") == plot_run(tmp_path / "run")[0]


def test_are_the_same_figures_the_same_bytes(write_run, make_points, tmp_path) -> None:
    run_dir = write_run(make_points(workloads=("pf",), threads=(1, 2)))
    first = [path.read_bytes() for path in plot_run(run_dir, tmp_path / "a")]
    assert first == [path.read_bytes() for path in plot_run(run_dir, tmp_path / "b")]


def test_is_a_run_without_any_finished_point_refused(write_run, points) -> None:
    with pytest.raises(InputError, match="no point of this run finished"):
        plot_run(write_run(points.assign(status="failed")))


def test_does_drawing_leave_pyplot_alone(write_run, make_points) -> None:
    run_dir = write_run(make_points(workloads=("pf",), threads=(1, 2)))
    program = (
        "import sys; from pathlib import Path; from sim.analysis.figures import plot_run;"
        f"plot_run(Path({str(run_dir)!r})); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
