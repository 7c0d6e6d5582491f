"""Do the metrics say what a reader would say of hand-made curves?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.analysis.metrics import (
    CellName,
    PointFailedError,
    Simulated,
    close_ladder,
    knee,
    metric_named,
    thread_ladder,
)

AT_64 = CellName("m", "adv", "pf", "high", 64)


def simulated(values: dict[CellName, float]) -> dict[CellName, Simulated]:
    return {cell: Simulated(x, 1000 / x) for cell, x in values.items()}


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ([(n, float(n)) for n in (1, 2, 4, 8)], 8),
        ([(n, float(min(n, 4))) for n in (1, 2, 4, 8, 16)], 4),
        ([(1, 1.0), (2, 0.8), (4, 0.7), (8, 0.6)], 1),
        ([(1, 1.0), (2, 0.8), (4, 3.0), (8, 6.0)], 8),
        ([(1, 1.0), (2, 1.9), (4, 3.6), (8, 4.0), (16, 4.2)], 4),
        ([(8, 5.0)], 8),
        ([(4, 4.0), (1, 1.0), (2, 2.0)], 4),
    ],
    ids=[
        "linear",
        "flat after 4",
        "falls from the start",
        "dip, then linear",
        "bends",
        "one point",
        "unsorted",
    ],
)
def test_where_does_a_curve_stop_scaling(curve: list[tuple[int, float]], expected: int) -> None:
    assert knee(curve) == expected


def test_does_a_gain_below_the_threshold_count_as_stopped() -> None:
    assert knee([(1, 100.0), (2, 114.0)]) == 1
    assert knee([(1, 100.0), (2, 116.0)]) == 2


@pytest.mark.parametrize(
    ("cpus", "ladder"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8]), (384, None)]
)
def test_does_the_ladder_double_and_end_at_all_cpus(cpus: int, ladder: list[int] | None) -> None:
    assert thread_ladder(cpus) == (ladder or [1, 2, 4, 8, 16, 32, 64, 128, 256, 384])


def test_is_a_ratio_the_throughput_of_one_design_over_another() -> None:
    metric = metric_named("throughput_over_linux-6.13")
    assert metric is not None
    linux = replace(AT_64, design="linux-6.13")
    assert list(metric.needs(AT_64, 384)) == [AT_64, linux]
    assert metric.compute(AT_64, simulated({AT_64: 33.0, linux: 1.5})) == 22.0


def test_is_a_ratio_of_peaks_that_of_the_highest_points_wherever_they_are() -> None:
    """On the way to 6 threads, whatever the machine has."""
    metric = metric_named("peak_throughput_over_linux-6.13")
    assert metric is not None
    ours = [replace(AT_64, threads=threads) for threads in (1, 2, 4, 6)]
    theirs = [replace(cell, design="linux-6.13") for cell in ours]
    assert list(metric.needs(ours[-1], 384)) == [*ours, *theirs]
    curves = dict(zip([*ours, *theirs], [1.0, 2.0, 8.0, 6.0, 2.0, 1.0, 0.5, 0.4], strict=True))
    assert metric.compute(ours[-1], simulated(curves)) == 4.0


def test_is_one_task_the_same_design_and_no_design_called_one_task() -> None:
    metric = metric_named("throughput_over_one_task")
    assert metric is not None
    one = replace(AT_64, threads=1)
    assert list(metric.needs(AT_64, 384)) == [one, AT_64]
    assert metric.compute(AT_64, simulated({one: 0.5, AT_64: 16.0})) == 32.0


def test_is_the_idle_share_told_in_percent_too() -> None:
    metric = metric_named("idle_share")
    assert metric is not None
    assert metric.compute(AT_64, {AT_64: Simulated(1.0, 1.0, idle_share=0.37)}) == 0.37
    assert (metric.factor("ratio", 1), metric.factor("percent", 1)) == (1.0, 100.0)


@pytest.mark.parametrize(("name", "bytes_"), [("resident_size", 2576.0), ("page_table_size", 44.0)])
def test_is_a_size_told_in_the_kilobytes_of_proc(name: str, bytes_: float) -> None:
    metric = metric_named(name)
    assert metric is not None
    told = Simulated(1.0, 1.0, resident_bytes=2576 * 1024, page_table_bytes=44 * 1024)
    factor = metric.factor("kB", 1)
    assert factor is not None
    assert metric.compute(AT_64, {AT_64: told}) * factor == bytes_
    with pytest.raises(PointFailedError, match="read_status"):
        metric.compute(AT_64, simulated({AT_64: 1.0}))


def test_has_a_point_without_a_flush_no_interrupts_per_flush() -> None:
    metric = metric_named("interrupts_per_flush")
    assert metric is not None
    assert metric.compute(AT_64, {AT_64: Simulated(1.0, 1.0, interrupts_per_flush=6.5)}) == 6.5
    with pytest.raises(PointFailedError, match="no flush"):
        metric.compute(AT_64, simulated({AT_64: 1.0}))


def test_is_scaling_per_thread_one_for_a_linear_curve() -> None:
    metric = metric_named("scaling_over_one_thread_per_thread")
    assert metric is not None
    one = replace(AT_64, threads=1)
    assert metric.compute(AT_64, simulated({one: 0.5, AT_64: 32.0})) == 1.0
    assert metric.overall([0.9, 0.8, 1.0]) == 0.8


def test_does_the_knee_metric_ask_for_the_whole_curve() -> None:
    metric = metric_named("knee_threads")
    assert metric is not None
    needs = metric.needs(AT_64, 16)
    assert [cell.threads for cell in needs] == [1, 2, 4, 8, 16]
    curve = simulated({cell: float(min(cell.threads, 4)) for cell in needs})
    assert metric.compute(AT_64, curve) == 4
    assert metric.overall([64, 8, 128]) == 64


@pytest.mark.parametrize(
    ("name", "unit", "factor"),
    [
        ("throughput", "ops/us", 1.0),
        ("throughput", "faults/s", 1e6),
        ("throughput", "kops/s", 1e3),
        ("throughput", "ns", None),
        ("throughput", "cycles", None),
        ("latency", "ns", 1.0),
        ("latency", "us", 1e-3),
        ("latency", "cycles", 2.25),
        ("knee_threads", "threads", 1.0),
    ],
)
def test_is_a_number_told_in_the_unit_of_the_row(name: str, unit: str, factor: float | None) -> None:
    metric = metric_named(name)
    assert metric is not None
    assert metric.factor(unit, clock_hz=2_250_000_000) == factor


def test_is_an_unknown_metric_unknown() -> None:
    assert metric_named("interrupts_per_fault") is None


def test_does_a_failed_point_fail_the_metric_with_its_reason() -> None:
    metric = metric_named("throughput")
    assert metric is not None
    with pytest.raises(PointFailedError, match="adv pf, 64 threads: BudgetExceeded"):
        metric.compute(AT_64, {AT_64: Simulated(float("nan"), float("nan"), "BudgetExceeded: events")})


def test_a_close_ladder_ends_at_its_threads() -> None:
    """And a row's curve goes no further than its tasks."""
    assert close_ladder(24) == [1, 2, 3, 4, 6, 8, 12, 16, 24]
    assert close_ladder(1) == [1]
    assert close_ladder(10) == [1, 2, 3, 4, 6, 8, 10]
    metric = metric_named("knee_within_tasks")
    assert metric is not None
    cell = CellName("machine", "design", "workload", "", 4)
    assert [each.threads for each in metric.needs(cell, 48)] == [1, 2, 3, 4]
