"""What counts in a window, and what is its time?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from kernels import KINDS
from plain import measure, workload
from pydantic import ValidationError
from test_bench import bench
from test_bench import measure as measure_bench

from sim.engine import Engine
from sim.profile import Counters
from sim.quantities import UnitError
from sim.workload import Measurement
from sim.workload.window import Requests, WholePeriods, _PeriodEnds, parse_extent

COMPUTE = [{"compute": {"time": "990 ns"}}]
"""With the timestamp behind it, a request of 1 us."""


def steady(thread: list[dict[str, Any]], window: Mapping[str, Any], **changes: Any) -> Any:
    return workload(thread=thread, measured=None, window=window, **changes)


@pytest.mark.parametrize(
    ("text", "extent"),
    [("100 us", 100_000_000), ("16 requests", Requests(16)), ("1 request", Requests(1)), ("0 ns", 0)],
)
def test_what_is_an_extent(text: str, extent: int | Requests) -> None:
    assert parse_extent(text) == extent


@pytest.mark.parametrize("text", ["16", "sixteen requests", "-1 requests", "1.5 requests", 16, None])
def test_what_is_no_extent(text: object) -> None:
    with pytest.raises(UnitError, match="or a number of requests such as '16 requests'"):
        parse_extent(text)


@pytest.mark.parametrize(
    "window",
    [
        {"warm_up": "10 us", "length": "50 us"},
        {"warm_up": "5 requests", "length": "50 requests"},
        {"warm_up": "10 us", "length": "50 requests"},
        {"warm_up": "5 requests", "length": "50 us"},
        {"warm_up": "0 requests", "length": "50 requests"},
        {"warm_up": "0 ns", "length": "60 us"},
    ],
)
@pytest.mark.parametrize("threads", [1, 4])
def test_is_throughput_what_ended_in_the_window_over_its_length(window: dict[str, str], threads: int) -> None:
    """Threads that do nothing but compute for a microsecond each: one operation a thread and microsecond."""
    point = measure(steady(COMPUTE, window), threads=threads)
    assert point.throughput_ops_per_us == pytest.approx(threads, rel=0.03)
    assert point.throughput_from_latency_ops_per_us == pytest.approx(threads, rel=1e-9)
    assert sum(point.breakdown_ns_per_op.values()) == pytest.approx(
        threads * 1000 / point.throughput_ops_per_us
    )


def test_are_operations_counted_whichever_thread_did_them() -> None:
    """Four threads x 8 requests, whoever did them."""
    point = measure(steady(COMPUTE, {"warm_up": "2 requests", "length": "8 requests"}), threads=4)
    assert point.operations == 32


@pytest.mark.parametrize(
    ("of_all", "at_longest", "threads", "warmed"),
    [(100, "1 ms", 1, 100), (100, "1 ms", 4, 100), (100, "20 us", 1, 20), (8, "1 ms", 4, 20)],
)
def test_does_a_warm_up_go_on_until_all_together_have_done_so_much(
    of_all: int, at_longest: str, threads: int, warmed: int
) -> None:
    """A request a microsecond and thread; five of each thread in any case."""
    window = {
        "warm_up": "5 requests",
        "warm_up_of_all": {"requests": f"{of_all} requests", "at_longest": at_longest},
        "length": "20 requests",
    }
    point = measure(steady(COMPUTE, window), threads=threads)
    assert point.operations == 20 * threads
    assert point.simulated_ns == pytest.approx(1000 * (warmed / threads + 20), rel=0.08)


def test_is_only_a_warm_up_in_requests_prolonged() -> None:
    of_all = {"requests": "10 requests", "at_longest": "1 ms"}
    with pytest.raises(ValidationError, match="prolongs a warm-up in requests"):
        steady(COMPUTE, {"warm_up": "5 us", "warm_up_of_all": of_all, "length": "20 requests"})


@pytest.mark.parametrize("kind", KINDS)
def test_does_the_breakdown_of_a_window_balance(kind: str) -> None:
    thread = [{"mmap": {"at": "slot"}}, {"touch": {"at": "slot"}}, {"munmap": {"at": "slot"}}]
    window = {"warm_up": "4 requests", "length": "16 requests"}
    point = measure(steady(thread, window), kind=kind, threads=6)
    per_operation = 6 * 1000 / point.throughput_ops_per_us
    assert sum(point.breakdown_ns_per_op.values()) == pytest.approx(per_operation)
    assert "start" not in point.breakdown_ns_per_op  # the start lies in the warm-up


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [8, 32])
def test_do_counters_count_what_the_window_does(kind: str, length: int) -> None:
    """Each request unmaps what it has touched: one flush. One more or less a thread at either end."""
    thread = [{"mmap": {"at": "slot"}}, {"touch": {"at": "slot"}}, {"munmap": {"at": "slot"}}]
    counters = Counters()
    window = {"warm_up": "4 requests", "length": f"{length} requests"}
    point = measure(steady(thread, window), kind=kind, threads=6, probe=counters)
    assert point.operations == 6 * length
    assert counters.report()["flushes"] == pytest.approx(6 * length, abs=6)


def test_do_counters_count_a_run_without_a_window_from_the_start_on() -> None:
    """Two runs of three threads with four requests each; what set them up does not count."""
    thread = [{"mmap": {"at": "slot"}}, {"touch": {"at": "slot"}}, {"munmap": {"at": "slot"}}]
    setup = [{"mmap": {"at": "layout"}}, {"touch": {"at": "every slot"}}, {"munmap": {"at": "layout"}}]
    counters = Counters()
    measure(workload(thread=thread, setup=setup, pooled_threads=6), probe=counters)
    assert counters.report()["flushes"] == 2 * 3 * 4


def test_does_refilling_take_time_and_count_no_operation() -> None:
    """Slots are made anew after every second request: 2 us of refilling for 2 us of requests."""
    window = {"warm_up": "4 requests", "length": "20 requests"}
    refill = [{"compute": {"time": "2 us"}}]
    plain = measure(steady(COMPUTE, window, requests=2), threads=1)
    refilled = measure(steady(COMPUTE, window, requests=2, refill=refill), threads=1)
    assert plain.throughput_ops_per_us == pytest.approx(1)
    assert refilled.throughput_ops_per_us == pytest.approx(0.5, rel=0.06)  # an end of the window may cut it
    assert refilled.throughput_from_latency_ops_per_us == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
def test_is_a_loop_over_slots_the_same_round_after_round(kind: str) -> None:
    """munmap has something to unmap in every round, because refilling maps and touches all own slots.

    The window's ends cut a refill, which is less than 2 % of so many requests."""
    early, late = (
        measure(
            steady(
                [{"munmap": {"at": "slot"}}],
                {"warm_up": warm_up, "length": "120 requests"},
                setup=[{"mmap": {"at": "layout"}}, {"touch": {"at": "every slot"}}],
                refill=[{"mmap": {"at": "own slots"}}, {"touch": {"at": "own slots"}}],
            ),
            kind=kind,
            threads=2,
        )
        for warm_up in ("8 requests", "88 requests")
    )
    assert early.operations == late.operations == 240
    assert early.breakdown_ns_per_op["zero"] > 2 * 200  # 2 pages a slot
    assert late.breakdown_ns_per_op["zero"] == pytest.approx(early.breakdown_ns_per_op["zero"], rel=0.05)


def test_are_all_mappings_of_a_round_known_to_refilling() -> None:
    point = measure(
        steady(
            [{"mmap": {"at": "anywhere"}}],
            {"warm_up": "4 requests", "length": "40 requests"},
            refill=[{"munmap": {"at": "all mapped"}}],
        ),
        threads=2,
    )
    assert point.operations == 80


MAP = [{"mmap": {"at": "slot"}}, {"munmap": {"at": "slot"}}]
PERIODS = {"warm_up": "1 request", "length": "2 requests", "grace_periods": {"at_most": "5 requests"}}


@pytest.mark.parametrize(("kind", "operations"), [("linux", range(9, 14)), ("adv", range(4, 5))])
def test_does_a_window_of_whole_grace_periods_last_as_long_as_one(kind: str, operations: range) -> None:
    """Two threads: a period is hastened after 10 operations. CortenMM lets nobody wait for one."""
    point = measure(steady(MAP, PERIODS), kind=kind, threads=2)
    assert point.operations in operations


def test_is_a_period_of_few_threads_as_long_as_its_bursts_need() -> None:
    periods = {**PERIODS, "grace_periods": {"at_most": "5 requests", "of_all": "15 requests", "length": 2}}
    point = measure(steady(MAP, periods), kind="linux", threads=2)
    assert 28 <= point.operations <= 36


def test_are_as_many_callbacks_invoked_in_short_periods_as_in_long_ones() -> None:
    def of_callbacks(at_most: int, length: int) -> float:
        periods = {"at_most": f"{at_most} requests", "warm_up": 6, "length": length}
        window = {**PERIODS, "grace_periods": periods}
        point = measure(steady(MAP, window), kind="linux", threads=2)
        return point.breakdown_ns_per_op["rcu"]

    assert of_callbacks(5, length=24) == pytest.approx(of_callbacks(1000, length=24), rel=0.05)


class Bursts:
    """Grace periods that a test ends: after each, how many callbacks wait, and how many have been queued."""

    under_way = True

    def __init__(self) -> None:
        self.on_period: Callable[[], None] | None = None
        self.backlog = self.called = 0

    def hasten(self) -> None: ...

    def end(self, backlog: int, called: int) -> None:
        self.backlog, self.called = backlog, called
        assert self.on_period is not None
        self.on_period()


@pytest.mark.parametrize(
    ("backlogs", "at_longest", "periods"),
    [
        ([40, 105], None, 2),  # of 200 that were queued 195 have run
        ([40, 160, 129, 90], None, 3),  # 60 of 200 are left over, then 29 of 300
        ([40, 160, 140, 110], None, 4),
        ([200, 300, 400, 500, 600], 3, 3),
        ([200] * 9, None, 8),  # 100 more of 1000 would do, but four times the length is enough
    ],
)
def test_does_a_window_of_whole_periods_end_when_as_much_has_run_as_was_queued(
    backlogs: list[int], at_longest: int | None, periods: int
) -> None:
    bursts, engine, turned = Bursts(), Engine(), list[int]()
    whole = WholePeriods.model_validate(
        {"at_most": "5 requests", "warm_up": 1, "length": 2, "at_longest": at_longest}
    )
    ends = _PeriodEnds(whole, 1, bursts, engine)
    ends.let_wait(turned.append)
    bursts.end(100, 1000)
    assert len(turned) == 1
    ends.let_wait(turned.append)
    for number, backlog in enumerate(backlogs, 1):
        bursts.end(backlog, 1000 + 100 * number)
        if len(turned) == 2:
            break
    assert number == periods


def test_does_a_placement_overlay_a_window_key_by_key() -> None:
    spec = workload(
        measured=None,
        window={"warm_up": "1 us", "length": "1 us"},
        placements={"low": {}, "long": {"window": {"length": "2 us"}}},
    )
    windows = [spec.window_of(placement) for placement in ("low", "long")]
    assert [(each.warm_up, each.length) for each in windows if each] == [(10**6, 10**6), (10**6, 2 * 10**6)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"window": {"warm_up": "1 us", "length": "1 us"}}, "give either `measured` or `window`"),
        ({"measured": None, "requests": None}, "give `requests` or `window`"),
        ({"refill": COMPUTE}, "`refill` belongs to `window`"),
        (
            {"measured": None, "window": {"warm_up": "1 us", "length": "0 requests"}},
            "nothing can be measured",
        ),
        ({"measured": None, "window": {"warm_up": "1 us", "length": "0 s"}}, "nothing can be measured"),
        (
            {"measured": None, "window": {**PERIODS, "warm_up": "1 us"}},
            "whole grace periods need parts that are counted",
        ),
        (
            {"measured": None, "window": {**PERIODS, "grace_periods": {"at_most": "3 us"}}},
            "'3 us' is no number of requests such as '16 requests'",
        ),
        (
            {"thread": [{"mmap": {"at": "own slots", "size": "8 KiB"}}]},
            "`size` does not go with `own slots`",
        ),
    ],
)
def test_which_windows_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        workload(**changes)


def test_does_a_placement_with_a_window_replace_the_measured_requests() -> None:
    window = {"warm_up": "1 us", "length": "1 us"}
    spec = workload(placements={"low": {}, "steady": {"window": window}})
    assert (spec.plan("low").window, spec.plan("steady").measured) == (None, None)


def alone(step: dict[str, Any], window: dict[str, str]) -> Measurement:
    return measure_bench(bench(roles=[{"who": "all", "steps": [step]}], window=window, lines={"x": {}}), 1)


@pytest.mark.parametrize("length", ["50 us", "1000 requests"])
def test_is_a_bench_breakdown_over_the_operations_that_took_the_time(length: str) -> None:
    """A warm-up that is longer than the window changes nothing."""
    point = alone({"add": "x"}, {"warm_up": "200 us", "length": length})
    assert sum(point.breakdown_ns_per_op.values()) == pytest.approx(1000 / point.throughput_ops_per_us)
    assert sum(point.breakdown_ns_per_op.values()) == pytest.approx(2, rel=0.01)


def test_is_the_time_of_threads_that_are_not_measured_left_out() -> None:
    load = {"who": "others", "measured": False, "steps": [{"compute": "1 us"}]}
    first = {"who": "first", "steps": [{"compute": "500 ns"}]}
    window = {"warm_up": "5 us", "length": "50 us"}
    point = measure_bench(bench(roles=[first, load], window=window), 4)
    assert point.breakdown_ns_per_op == pytest.approx({"user": 500})
    assert point.throughput_from_latency_ops_per_us == pytest.approx(2)


def test_does_work_that_fills_the_whole_window_have_its_time() -> None:
    """Cpu 1 does one piece of work of 1 ms; the window lies in the middle of it."""
    long = {"who": "others", "steps": [{"compute": "1 ms"}]}
    first = {"who": "first", "steps": [{"compute": "1 us"}]}
    window = {"warm_up": "100 us", "length": "50 us"}
    point = measure_bench(bench(roles=[first, long], window=window), 2)
    assert point.operations == 50
    assert point.breakdown_ns_per_op == pytest.approx({"user": 2000})
