"""Can a reader tell what each figure shows: labels, legend, colours, and what is missing?"""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

import sim
from sim.analysis.activities import MOST_GROUPS
from sim.analysis.curves import nearest_threads
from sim.analysis.figures import (
    latency_figure,
    memory_figure,
    one_thread_figure,
    plot_run,
    scalability_figure,
    time_figure,
    workloads_figure,
)
from sim.analysis.layout import panel_rows
from sim.analysis.panels import IDEAL_LABEL
from sim.analysis.published import default_files, read_published
from sim.analysis.style import design_styles, spread_ticks
from sim.analysis.tables import read_run
from sim.analysis.wording import design_title, duration, plain_number, rate_scale, time_scale
from sim.errors import InputError

PNG = b"\x89PNG"


THROUGHPUT_LABEL = "throughput\n(operations completed per µs)"


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def legend_of(figure: Figure) -> list[str]:
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def test_has_the_paper_grid_a_row_a_placement_and_a_column_a_workload(points) -> None:
    axes = scalability_figure(points).axes
    assert [ax.get_title().strip() for ax in axes] == ["mmap", "mmap-pf", "pf", "unmap-virt", "unmap"] * 2
    assert [texts(axes[0]), texts(axes[5])] == [["low contention"], ["high contention"]]
    assert {ax.get_ylabel() for ax in (axes[0], axes[5])} == {THROUGHPUT_LABEL}
    assert {ax.get_xlabel() for ax in axes[5:]} == {"threads"}
    assert {(ax.get_xscale(), ax.get_yscale()) for ax in axes} == {("log", "log")}
    assert len({ax.get_ylim() for ax in axes}) == 1


def test_is_there_one_legend_with_the_designs_first_and_the_ideal_last(points) -> None:
    figure = scalability_figure(points)
    assert legend_of(figure) == ["Linux 6.13", "CortenMM rw", "CortenMM adv", IDEAL_LABEL]
    assert all(ax.get_legend() is None for ax in figure.axes)


def test_does_each_curve_show_its_points_in_its_own_colour(points) -> None:
    ax = scalability_figure(points).axes[0]
    lines = {line.get_label(): line for line in ax.lines}
    assert to_hex(lines["Linux 6.13"].get_color()) == design_styles(["linux-6.13"])["linux-6.13"].colour
    drawn = points.query("workload == 'mmap' and placement == 'low' and design == 'cortenmm-adv'")
    np.testing.assert_allclose(lines["CortenMM adv"].get_ydata(), drawn["throughput_ops_per_us"])
    ideal = lines[IDEAL_LABEL]
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
    assert texts(panel) == ["no finished point"]


@pytest.mark.parametrize(
    ("count", "shape"), [(1, [1]), (2, [2]), (5, [5]), (6, [3, 3]), (7, [4, 3]), (11, [4, 4, 3])]
)
def test_does_a_long_row_wrap_evenly(make_points, count: int, shape: list[int]) -> None:
    points = make_points(workloads=[f"w{n}" for n in range(count)], placements=("",), threads=(1, 2))
    assert [len(row) for row in panel_rows(points)] == shape
    assert len(scalability_figure(points).axes) == count


@pytest.mark.ci
def test_are_machines_kept_apart(make_points) -> None:
    both = pd.concat([make_points(threads=(1, 4)), make_points(threads=(1, 2), machine="small")])
    axes = scalability_figure(both).axes
    assert len(axes) == 20
    assert texts(axes[10]) == ["small, low contention"]
    assert len(one_thread_figure(both).axes) == 2


def test_are_bars_relative_to_linux_with_the_published_ratio_on_them(points) -> None:
    figure = one_thread_figure(points, published=read_published(default_files()))
    (ax,) = figure.axes
    assert ax.get_ylabel() == "work done relative to Linux 6.13\n(operations completed)"
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
    assert texts(figure.axes[0]) == ["no finished point beside one of CortenMM adv"]


@pytest.mark.ci
def test_is_each_time_bar_whole_and_its_duration_written(breakdown) -> None:
    figure = time_figure(breakdown)
    ax = figure.axes[0]
    ends = [bar.get_x() + bar.get_width() for bar in ax.patches]
    assert max(ends) == pytest.approx(100)
    assert sum(bar.get_width() for bar in ax.patches) == pytest.approx(9 * 100)
    words = texts(ax)[1:]  # behind the heading
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
    assert len(set(styles.values())) == 12
    assert len({(style.colour, style.hatch) for style in styles.values()}) == 12


def test_are_ticks_never_crowded() -> None:
    assert spread_ticks([1, 2, 4, 8, 16, 32, 64, 128, 192, 256, 320, 384]) == [1, 4, 16, 64, 384]
    assert spread_ticks([1, 2, 3, 4]) == [1, 2, 3, 4]
    assert spread_ticks([1, 320, 384]) == [1, 384]
    assert spread_ticks([7]) == [7]


@pytest.mark.parametrize(
    ("typical", "unit", "scale"),
    [
        (5.0, "ops/us", (1.0, "operations", "µs")),
        (5e6, "kops/s", (1e-3, "million operations", "s")),
        (2e6, "faults/s", (1e-6, "million faults", "s")),
        (2e4, "ops/s", (1e-3, "thousand operations", "s")),
        (3.0, "parsecs", (1.0, "parsecs", "")),
    ],
)
def test_are_rates_counted_so_that_numbers_stay_short(typical: float, unit: str, scale: tuple) -> None:
    assert rate_scale(typical, unit) == scale


@pytest.mark.parametrize(
    ("typical", "unit", "scale"),
    [(2500, "ns", (1e-3, "µs")), (0.2, "us", (1e3, "ns")), (9000, "cycles", (1.0, "cycles")),
     (2e5, "cycles", (1e-3, "thousand cycles"))],
)  # fmt: skip
def test_are_times_told_in_the_unit_that_reads_best(typical: float, unit: str, scale: tuple) -> None:
    assert time_scale(typical, unit) == scale


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


@pytest.mark.parametrize(("typical_ns", "label"), [(40, "ns"), (4_000, "µs"), (4e6, "ms"), (4e9, "s")])
def test_has_a_whole_axis_the_unit_that_suits_it(make_points, typical_ns: float, label: str) -> None:
    points = make_points(threads=(1, 4, 16))
    points["latency_p50_ns"] = typical_ns * points["threads"] / 4
    figure = latency_figure(points)
    assert {ax.get_ylabel() for ax in figure.axes} == {"", f"median latency ({label})"}
    (linux, *_) = [line for line in figure.axes[0].lines if line.get_label() == "Linux 6.13"]
    assert list(linux.get_ydata()) == pytest.approx([1, 4, 16] if typical_ns != 40 else [10, 40, 160])


@pytest.mark.parametrize(("rate", "per"), [(5.0, "µs"), (0.004, "ms"), (4e-6, "s")])
def test_is_a_slow_throughput_told_in_longer_times(make_points, rate: float, per: str) -> None:
    figure = scalability_figure(make_points(curve=lambda *_: rate))
    assert figure.axes[0].get_ylabel() == f"throughput\n(operations completed per {per})"


def test_reach_axes_the_last_thread_count_even_if_nobody_got_there(points) -> None:
    broken = points.copy()
    broken.loc[broken["threads"] > 64, "status"] = "failed"
    for ax in (*scalability_figure(broken).axes, *latency_figure(broken).axes):
        low, high = ax.get_xlim()
        assert low < 1
        assert high > 384
        assert [tick for tick in ax.get_xticks() if low <= tick <= high][-1] == 384


def test_do_values_at_one_thread_count_stand_over_their_workloads(make_points) -> None:
    upper, lower = workloads_figure(make_points(threads=(64,), placements=("low",))).axes
    assert [text.get_text() for text in upper.get_xticklabels()] == [
        "mmap", "mmap-pf", "pf", "unmap-virt", "unmap",
    ]  # fmt: skip
    assert lower.get_ylabel().startswith("median latency")
    assert all(line.get_linestyle() == "None" for line in upper.lines)


def test_has_a_missing_baseline_point_a_note_and_the_others_their_bars(points) -> None:
    broken = points.copy()
    lost = (broken["design"] == "linux-6.13") & (broken["workload"] == "pf") & (broken["threads"] == 1)
    broken.loc[lost, "status"] = "failed"
    for run in (broken, points.loc[~lost]):
        figure = one_thread_figure(run)
        assert "nothing to compare with Linux 6.13 (a point is missing or failed): pf" in (
            figure.get_suptitle().replace("\n", " ")
        )
        assert sum(bar.get_height() > 0 for bar in figure.axes[0].patches) == 8


@pytest.mark.slow
def test_are_all_figures_drawn_when_every_point_of_the_baseline_failed(
    write_run, make_points, make_breakdown
) -> None:
    broken = make_points(workloads=("pf",))
    breakdown = make_breakdown(broken)
    broken.loc[broken["design"] == "linux-6.13", "status"] = "failed"
    names = [path.stem for path in plot_run(write_run(broken, breakdown))[::2]]
    assert names == [
        "scalability", "latency", "one-thread", "efficiency",
        "latency-percentiles", "where-time-goes", "time-over-threads",
    ]  # fmt: skip
    assert texts(one_thread_figure(broken).axes[0]) == ["no finished point beside one of Linux 6.13"]


@pytest.mark.slow
def test_has_a_run_of_one_design_no_ratios_and_all_other_figures(write_run, make_points) -> None:
    points = make_points(designs=("cortenmm-adv",), workloads=("pf",))
    assert [path.stem for path in plot_run(write_run(points))[::2]] == [
        "scalability", "latency", "efficiency", "latency-percentiles", "where-time-goes", "time-over-threads",
    ]  # fmt: skip


def test_is_a_chosen_baseline_that_is_not_there_refused(points) -> None:
    with pytest.raises(InputError, match="the baseline design is not in this run"):
        one_thread_figure(points, baseline="nros")


@pytest.mark.slow
def test_has_each_machine_bars_at_its_own_thread_counts(make_points, make_breakdown) -> None:
    runs = [make_points(threads=(1, 64, 384)), make_points(threads=(2, 8), machine="small")]
    figure = time_figure(make_breakdown(pd.concat(runs)))
    assert [word for word in texts(figure.axes[-1]) if "thread" in word] == ["2 threads", "8 threads"]


def test_has_each_machine_its_own_fewest_threads(make_points) -> None:
    both = pd.concat([make_points(threads=(1, 4)), make_points(threads=(2, 8), machine="small")])
    assert [len(ax.patches) for ax in one_thread_figure(both).axes] == [10, 10]


@pytest.mark.parametrize(
    "matrix",
    [
        ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
        ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    ],
    ids=["deuteranopia", "protanopia"],
)
def test_do_colour_blind_readers_tell_the_known_designs_apart(matrix: tuple[tuple[float, ...], ...]) -> None:
    # Machado, Oliveira and Fernandes 2009: what is seen, as a linear map of the colour.
    names = ("linux-6.13", "cortenmm-rw", "cortenmm-adv", "nros", "radixvm")
    styles = design_styles(names)
    seen = [np.array(matrix) @ np.array(to_rgb(styles[name].colour)) for name in names]
    apart = [float(np.linalg.norm(one - other)) for one, other in combinations(seen, 2)]
    assert min(apart) > 0.15
    assert len({style.marker for style in styles.values()}) == len(names)


@pytest.mark.slow
def test_are_a_run_s_figures_written_with_the_main_one_first(
    write_run, make_points, make_breakdown, tmp_path
) -> None:
    points = make_points(workloads=("mmap", "pf"))
    paths = plot_run(write_run(points, make_breakdown(points)), tmp_path / "new" / "folder")
    names = (
        "scalability", "latency", "one-thread", "ratio",
        "efficiency", "latency-percentiles", "where-time-goes", "time-over-threads",
    )  # fmt: skip
    assert [path.name for path in paths] == [name + ending for name in names for ending in (".png", ".svg")]
    assert all(path.read_bytes().startswith(PNG) for path in paths[::2])


@pytest.mark.slow
def test_does_a_real_run_draw_under_its_own_title(tmp_path: Path) -> None:
    experiment = sim.load("quickstart", {"threads": [1, 2], "workloads": ["pf"]})
    points = sim.run(experiment, out=tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert run.title == experiment.spec.title
    assert len(run.points) == len(points)
    assert (tmp_path / "run" / "plots" / "scalability.png") == plot_run(tmp_path / "run")[0]


@pytest.mark.ci
def test_are_the_same_figures_the_same_bytes(write_run, make_points, tmp_path) -> None:
    run_dir = write_run(make_points(workloads=("pf",), threads=(1, 2)))
    first = [path.read_bytes() for path in plot_run(run_dir, tmp_path / "a")]
    assert first == [path.read_bytes() for path in plot_run(run_dir, tmp_path / "b")]


def test_is_a_run_without_any_finished_point_refused(write_run, points) -> None:
    with pytest.raises(InputError, match="no point of this run finished"):
        plot_run(write_run(points.assign(status="failed")))


@pytest.mark.ci
def test_does_drawing_leave_pyplot_alone(write_run, make_points) -> None:
    run_dir = write_run(make_points(workloads=("pf",), threads=(1, 2)))
    program = (
        "import sys; from pathlib import Path; from sim.analysis.figures import plot_run;"
        f"plot_run(Path({str(run_dir)!r}), names=['scalability', 'ratio']);"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])


def test_does_the_memory_of_each_design_have_a_bar(points) -> None:
    assert memory_figure(points) is None  # a run of before
    sizes = {"page_table": 40960.0, "metadata": 4096.0, "vma": 1024.0}
    for number, (name, size) in enumerate(sizes.items()):
        points[f"{name}_bytes_peak"] = size * (number + 1)
    figure = memory_figure(points)
    assert figure is not None
    ax = figure.axes[0]
    assert legend_of(figure) == ["page tables", "metadata of entries", "VMAs"]
    designs = list(dict.fromkeys(points["design"]))
    assert [label.get_text() for label in ax.get_yticklabels()] == [design_title(name) for name in designs]
    ends = {round(bar.get_x() + bar.get_width(), 3) for bar in ax.patches}
    assert ends == {40.0, 48.0, 51.0}
