"""Do the figures of scaling show what the tables say, and can they be read?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from legible import stumbles

from sim.analysis.figures import write_figure
from sim.analysis.lock_waits import lock_figure, lock_waits
from sim.analysis.scaling_figures import LAW_LABEL, efficiency_figure, percentiles_figure, ratio_figure
from sim.analysis.stacks import stack_figure

Make = Callable[..., pd.DataFrame]
SMALL = {"workloads": ("pf",), "placements": ("low",), "threads": (1, 2, 4, 8, 16)}


def locks_of(points: pd.DataFrame) -> pd.DataFrame:
    """Two page-table locks and mmap_lock, which is waited for the longer the more threads there are."""
    rows = []
    for point in points.to_dict("records"):
        key = {name: point[name] for name in points.columns[:7]}
        for lock, mode, wait in (
            ("mmap_lock", "write", 1e5 * point["threads"]),
            ("L1 table 0x7f00: PTL", "write", 2e3),
            ("L1 table 0x7f01: PTL", "write", 3e3),
            ("lru_lock", "write", 0.0),
        ):
            rows.append({**key, "lock": lock, "mode": mode, "activity": "lock", "locks": 1, "wait_ns": wait})
        rows.append({**key, "lock": "others", "mode": "", "activity": "", "locks": 9, "wait_ns": 1e9})
    return pd.DataFrame(rows)


def test_is_a_ratio_over_threads_beside_the_line_of_the_baseline(make_points: Make) -> None:
    points = make_points(**SMALL)
    figure = ratio_figure(points, title="a run")
    assert figure is not None
    (ax,) = figure.axes
    lines = {line.get_label(): line for line in ax.lines}
    assert set(lines) == {"CortenMM rw", "CortenMM adv", "Linux 6.13"}
    assert lines["CortenMM adv"].get_ydata()[0] == pytest.approx(1.5)
    assert set(lines["Linux 6.13"].get_ydata()) == {1.0}
    assert stumbles(figure) == []
    assert ratio_figure(make_points(designs=("linux-6.13",), **SMALL)) is None


def test_is_the_law_drawn_through_the_efficiency_that_follows_it(make_points: Make) -> None:
    points = make_points(designs=("cortenmm-rw",), **SMALL)  # Amdahl's law with 2 %
    figure = efficiency_figure(points)
    assert figure is not None
    (ax,) = figure.axes
    law = next(line for line in ax.lines if line.get_label() == LAW_LABEL)
    expected = 1 / (1 + 0.02 * (np.asarray(law.get_xdata()) - 1))
    np.testing.assert_allclose(law.get_ydata(), expected, rtol=1e-3)
    assert stumbles(figure) == []


def test_is_there_no_law_through_a_few_points(make_points: Make) -> None:
    figure = efficiency_figure(make_points(workloads=("pf",), placements=("low",), threads=(1, 2, 4)))
    assert figure is not None
    assert LAW_LABEL not in [line.get_label() for line in figure.axes[0].lines]


def test_has_each_design_its_percentiles_and_its_stack(make_points: Make, make_breakdown) -> None:
    points = make_points(**SMALL)
    percentiles, stacks = percentiles_figure(points, "a run"), stack_figure(make_breakdown(points), "a run")
    assert percentiles is not None
    assert len(percentiles.axes) == len(stacks.axes) == 3
    assert [line.get_label() for line in percentiles.axes[0].lines] == ["p50 (median)", "p95", "p99"]
    top = [area.get_paths()[0].vertices[:, 1].max() for area in stacks.axes[0].collections]
    assert max(top) == pytest.approx(100)
    assert (stumbles(percentiles), stumbles(stacks)) == ([], [])


def test_are_waits_an_operations_and_locks_of_one_kind_one_row(make_points: Make) -> None:
    points = make_points(replicates=2, **SMALL)
    waits = lock_waits(points, locks_of(points))
    assert set(waits["name"]) == {"mmap_lock (write)", "L1 table *: PTL (write)"}
    here = waits.query("design == 'linux-6.13' and threads == 16").set_index("name")["ns"]
    assert here["mmap_lock (write)"] == pytest.approx(1600)  # 1.6 ms in 1000 operations
    assert here["L1 table *: PTL (write)"] == pytest.approx(5)


def test_can_the_heat_map_be_read_and_is_it_the_same_twice(make_points: Make, tmp_path: Path) -> None:
    points = make_points(designs=("linux-6.13",), **SMALL)
    once, twice = (lock_figure(points, locks_of(points), "a run") for _ in range(2))
    assert once is not None
    assert twice is not None
    assert [text.get_text() for text in once.axes[0].texts][:2] == ["100 ns", "200 ns"]
    assert not [fault for fault in stumbles(once) if not fault.startswith("a panel of")]
    for name, figure in (("one", once), ("two", twice)):
        (tmp_path / name).mkdir()
        write_figure(figure, tmp_path / name, "lock-waits")
    for file in ("lock-waits.png", "lock-waits.svg"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
