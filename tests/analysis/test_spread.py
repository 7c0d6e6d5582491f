"""Fairness and latencies in full: do tables and figures say what the rows of a profile say?"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isnan, sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from legible import stumbles

from sim.analysis import cdf_table, fairness_table, gini, jain, max_over_min, percentile_table, variation
from sim.analysis.curve_report import fairness_lines
from sim.analysis.figures import write_figure
from sim.analysis.spread_figures import (
    ONE_DOES_ALL,
    distribution_figure,
    fairness_figure,
    transfer_figure,
    transfer_table,
)

Make = Callable[..., pd.DataFrame]
SMALL = {"workloads": ("pf", "unmap"), "placements": ("low",), "threads": (1, 2, 4, 32)}


def profile_of(points: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Cpu i does i + 1 operations under Linux, 10 elsewhere; latencies are 1..100 ns; cluster of 8 cpus."""
    tables: dict[str, list[dict[str, object]]] = {"cpus": [], "latencies": [], "transfers": []}
    for point in points.to_dict("records"):
        swept = [name for name in points if "." in name]
        key = {name: point[name] for name in (*points.columns[:7], *swept)}
        linux, threads = point["design"].startswith("linux"), point["threads"]
        for cpu in range(threads):
            done = cpu + 1 if linux else 10
            tables["cpus"].append({**key, "cpu": cpu, "cluster": cpu // 8, "socket": cpu // 16, "measured": 1,
                                   "operations": done})  # fmt: skip
        for percent in range(1, 101):
            ns = percent * (100.0 if linux else 1.0)
            tables["latencies"].append({**key, "of": "all", "name": "", "count": 100, "percentile": percent,
                                        "latency_ns": ns})  # fmt: skip
        for source in ("memory", *range(-(-threads // 8))):
            tables["transfers"].append({**key, "from_cluster": str(source), "to_cluster": "0",
                                        "distance": "d", "transfers": 500, "transfer_ns": 1e3})  # fmt: skip
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}


def test_are_the_measures_what_their_definitions_say() -> None:
    assert [of([7, 7, 7]) for of in (jain, max_over_min, variation, gini)] == [1, 1, 0, pytest.approx(0)]
    alone = [0, 0, 0, 12]
    assert [of(alone) for of in (jain, max_over_min, variation, gini)] == [
        pytest.approx(1 / 4), inf, pytest.approx(sqrt(3)), pytest.approx(3 / 4)
    ]  # fmt: skip
    some = np.array([1.0, 2, 3, 4])
    assert jain(some.tolist()) == pytest.approx(1 / (1 + variation(some.tolist()) ** 2)) == 100 / (4 * 30)
    pairs = np.abs(some[:, None] - some[None, :]).sum()
    assert gini(some.tolist()) == pytest.approx(pairs / (2 * 16 * some.mean()))
    assert all(isnan(of([0, 0])) for of in (jain, max_over_min, variation, gini))


def test_has_each_point_its_fairness(make_points: Make) -> None:
    cpus = profile_of(make_points(replicates=2, **SMALL))["cpus"]
    idle = cpus.assign(cpu=999, measured=0, operations=0)  # not measured: does not count
    table = fairness_table(pd.concat([cpus, idle]))
    linux = table.query("design == 'linux-6.13' and workload == 'pf' and threads == 4").iloc[0]
    assert (linux["cpus"], linux["jain"], linux["max_over_min"], linux["replicates"]) == (
        4, pytest.approx(100 / 120), 4, 2
    )  # fmt: skip
    assert set(table.query("design == 'cortenmm-adv'")["jain"]) == {1.0}
    assert len(fairness_lines(table).rows) == 6
    assert fairness_table(idle).empty


def test_are_percentiles_those_of_the_table_and_beyond_it_the_greatest(make_points: Make) -> None:
    latencies = profile_of(make_points(**SMALL))["latencies"]
    table = percentile_table(latencies, (50, 50.5, 99.9)).query("design == 'linux-6.13' and threads == 1")
    assert list(table["ns"][:3]) == [5000, 5100, 10000]
    cdf = cdf_table(latencies)
    assert list(cdf["share"][:2]) == [0.01, 0.02]
    assert (cdf["share"] + cdf["longer"]).to_numpy() == pytest.approx(1)


@pytest.mark.ci
def test_do_the_lines_of_a_distribution_pass_the_percentiles(make_points: Make) -> None:
    figure = distribution_figure(profile_of(make_points(**SMALL))["latencies"], "a run")
    assert figure is not None
    above, below = figure.axes[0], figure.axes[2]
    assert above.get_title().strip() == "pf, 32 threads"
    line = {one.get_label(): one for one in above.lines}["Linux 6.13"]
    at = dict(zip(np.asarray(line.get_ydata()).round(3), line.get_xdata(), strict=True))
    assert at[0.5] == pytest.approx(5000)  # ns; the typical latency is 51 ns
    tail = np.asarray(below.lines[0].get_ydata())
    assert tail[0] == pytest.approx(0.99)
    assert stumbles(figure) == []
    assert distribution_figure(profile_of(make_points(**SMALL))["latencies"].iloc[:0]) is None


@pytest.mark.ci
def test_is_fairness_drawn_beside_its_worst(make_points: Make) -> None:
    figure = fairness_figure(profile_of(make_points(**SMALL))["cpus"], "a run")
    assert figure is not None
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(lines[ONE_DOES_ALL].get_ydata()) == pytest.approx([1, 1 / 2, 1 / 4, 1 / 32])
    assert list(lines["Linux 6.13"].get_ydata())[:2] == pytest.approx([1, 9 / 10])
    assert stumbles(figure) == []


def test_are_transfers_an_operations_and_clusters_in_order(make_points: Make) -> None:
    points = make_points(**SMALL)
    tables = profile_of(points)
    table = transfer_table(points, tables["transfers"])
    assert set(table["each"]) == {0.5}  # 500 in 1000 operations
    figure = transfer_figure(points, tables["transfers"], tables["cpus"], "a run")
    assert figure is not None
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["0", "1", "2", "3", "mem"]
    cells = ax.images[0].get_array()
    assert cells is not None
    assert cells.shape == (5, 4)
    assert [line.get_ydata()[0] for line in ax.lines] == [3.5, 1.5, 0]  # memory; a socket
    assert not [fault for fault in stumbles(figure) if not fault.startswith("a panel of")]
    assert transfer_figure(points, tables["transfers"].iloc[:0]) is None


@pytest.mark.ci
@pytest.mark.parametrize("name", ["fairness", "distribution", "transfers"])
def test_is_a_figure_of_a_sweep_legible_and_the_same_twice(
    name: str, make_points: Make, tmp_path: Path
) -> None:
    one = make_points(workloads=("pf",), placements=("low",), threads=(1, 32), designs=("linux-6.13",))
    column = "machine.coherence.cross_socket"
    points = pd.concat([one.assign(**{column: value}) for value in ("240 ns", "320 ns")], ignore_index=True)
    tables = profile_of(points)
    draw = {
        "fairness": lambda: fairness_figure(tables["cpus"], "a sweep"),
        "distribution": lambda: distribution_figure(tables["latencies"], "a sweep"),
        "transfers": lambda: transfer_figure(points, tables["transfers"], tables["cpus"], "a sweep"),
    }[name]
    figures = [draw() for _ in range(2)]
    for turn, figure in zip(("a", "b"), figures, strict=True):
        assert figure is not None
        (tmp_path / turn).mkdir()
        write_figure(figure, tmp_path / turn, name)
    for file in (f"{name}.png", f"{name}.svg"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert figures[0] is not None
    assert not [fault for fault in stumbles(figures[0]) if not fault.startswith("a panel of")]


RUNS = {
    "the paper's": {"threads": (1, 64, 384)},
    "a dozen designs": {"designs": ["linux-6.13", *(f"my-idea-{n}" for n in range(11))], **SMALL},
    "one point": {"designs": ["linux-6.13"], "workloads": ("pf",), "placements": ("",), "threads": (1,)},
    "long names": {
        "workloads": [f"a-workload-with-quite-a-long-name-{n}" for n in range(7)],
        "threads": (1, 32),
    },
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=pytest.mark.slow if name in ("the paper's", "long names") else pytest.mark.ci
        )
        for name in RUNS
    ],
)
def test_can_the_figures_of_a_profile_be_read_whatever_the_run(name: str, make_points: Make) -> None:
    points = make_points(**RUNS[name])
    tables = profile_of(points)
    for figure in (
        fairness_figure(tables["cpus"], "a run"),
        distribution_figure(tables["latencies"], "a run"),
        transfer_figure(points, tables["transfers"], tables["cpus"], "a run"),
    ):
        assert figure is not None
        assert not [fault for fault in stumbles(figure) if not fault.startswith("a panel of")]
