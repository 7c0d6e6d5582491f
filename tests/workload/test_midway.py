"""Do threads that begin in the middle of their rounds show what a long run shows?"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any, cast

import pytest
from plain import measure, workload
from pydantic import ValidationError

from sim.engine import Probe
from sim.workload import WorkloadSpec
from sim.workload.midway import Shares, Start, spread

LOOP = 64


def loop(window: dict[str, Any], past: bool = True, **changes: Any) -> WorkloadSpec:
    """Map so many pages, write each, unmap them."""
    role: dict[str, Any] = {
        "who": "all",
        "steps": [{"touch": {"at": "slot"}}],
        "refill": [{"munmap": {"at": "own slots"}}, {"mmap": {"at": "own slots"}}],
    }
    if past:
        role["past"] = [{"populate": {"at": "earlier slots"}}]
    values: dict[str, Any] = {
        "thread": None,
        "measured": None,
        "stack": None,
        "roles": [role],
        "requests": LOOP,
        "layout": {"request": "4 KiB", "stride": "256 KiB"},
        "setup": [{"mmap": {"at": "layout"}}],
        "window": {"skew": "5 us"} | window,
    }
    return workload(**(values | changes))


class Pages(Probe):
    """How often threads map, and how many pages they unmap, while they run."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.frames = 0
        self._running = False

    def run_begins(self, cpus: object) -> None:
        self.calls.clear()
        self.frames, self._running = 0, True

    def operation_begins(self, cpu: object, operation: Any) -> None:
        self.calls[operation.name] += 1

    def frame_freed(self, cpu: object, frame: int, order: int) -> None:
        self.frames += self._running


@pytest.mark.parametrize(("kind", "threads"), [("linux", 1), ("linux", 4), ("adv", 4)])
def test_is_the_rate_of_a_short_window_that_of_a_long_run(kind: str, threads: int) -> None:
    """Four threads of Linux wait for mmap_lock; those of CortenMM do not."""
    long = loop({"warm_up": f"{LOOP} requests", "length": f"{16 * LOOP} requests", "staggered": True})
    short = loop(
        {"warm_up": "8 requests", "length": "16 requests", "pilot": {"requests": 16}, "whole_rounds": 2}
    )
    rates = [measure(short, kind, threads=threads, seed=seed).throughput_ops_per_us for seed in range(8)]
    expected = measure(long, kind, threads=threads).throughput_ops_per_us
    assert sum(rates) / 8 == pytest.approx(expected, rel=0.05)


def test_does_a_window_of_whole_rounds_have_their_unmaps_at_full_size() -> None:
    pages = Pages()
    window = {"warm_up": "0 requests", "length": "10 requests", "pilot": {"requests": 8}}
    found = measure(loop(window | {"whole_rounds": 1}), "linux", threads=4, probe=pages)
    assert found.operations == LOOP
    # A thread that has begun to refill when the window is over does it to the end.
    assert 1 <= pages.calls["munmap"] <= 2
    assert pages.frames >= LOOP * pages.calls["munmap"]
    assert measure(loop(window), "linux", threads=4).operations == 40
    assert measure(loop(window | {"whole_rounds": 3}), "linux", threads=2).operations == 2 * LOOP
    more = window | {"whole_rounds": 1, "threads_per_round": 2}
    assert measure(loop(more), "linux", threads=4).operations == 2 * LOOP


def test_are_earlier_pages_there_with_a_stagger_and_a_past() -> None:
    """The first round of each of two threads ends with an unmap of all pages."""
    pages = Pages()
    window = {"warm_up": "0 requests", "length": f"{LOOP} requests", "staggered": True}
    measure(loop(window), "linux", threads=2, probe=pages)
    assert pages.frames >= 2 * LOOP
    measure(loop(window, past=False), "linux", threads=2, probe=pages)
    assert pages.frames < 2 * LOOP


def measured(shares: Shares, requests: int, *times: int) -> None:
    """A pilot of one thread whose rounds have so many *requests* and take these times, after a slow one."""
    worker, now = cast("Any", object()), 0
    shares.enter(worker, None, now)
    now = 10_000
    shares.begin(now)
    for step, time in enumerate(times):
        now += time
        if step + 1 < len(times):
            shares.enter(worker, step, now)
    for _ in range(requests):
        shares.count()
    shares.end(requests, now)


def test_where_a_round_is_after_a_part_of_its_time() -> None:
    shares = Shares(2)
    measured(shares, 32, 400, 500, 100)
    found = {part: shares.start(part, 32) for part in (0.0, 0.1, 0.39, 0.41, 0.89, 0.91)}
    assert found == {
        0.0: Start(0),
        0.1: Start(8),
        0.39: Start(31),
        0.41: Start(32, 0),
        0.89: Start(32, 0),
        0.91: Start(32, 1),
    }


def test_is_a_part_of_a_refill_that_is_always_the_same_not_taken_for_more() -> None:
    """100 and 3 for each request, and 50 whatever there is. One that gets shorter is never below 0."""
    shares = Shares(3)
    measured(shares, 8, 80, 124, 50, 60)
    measured(shares, 32, 320, 196, 50, 40)
    assert shares.round(1024) == {None: 10240, 0: 100 + 3 * 1024, 1: 50, 2: 40}


def test_does_a_refill_of_one_size_of_pilot_grow_with_its_round() -> None:
    shares = Shares(1)
    measured(shares, 8, 80, 40)
    assert shares.round(16) == {None: 160, 0: 80}


def test_are_threads_spread_evenly_over_the_time_of_a_round() -> None:
    shares, workers = Shares(0), [cast("Any", object()) for _ in range(16)]
    starts = spread(workers, shares, 1600, Random(1))
    assert sorted(start.request // 100 for start in starts.values()) == list(range(16))
    assert [starts[worker].request // 100 for worker in workers] != list(range(16))


@pytest.mark.parametrize(
    ("window", "changes", "said"),
    [
        ({"pilot": {"requests": 65}}, {}, "a round of the pilot has no more requests than a round"),
        ({"pilot": {"requests": 0}}, {}, "greater than 0"),
        ({"pilot": {"requests": 8}, "whole_rounds": -1}, {}, "greater than or equal to 0"),
        ({"pilot": {"requests": 8, "rounds": 0}}, {}, "greater than 0"),
        (
            {"pilot": {"requests": 8}, "staggered": True},
            {},
            "says where threads begin, and so does `staggered`",
        ),
        ({"pilot": {"requests": 8}}, {"cpus": 2}, "threads that each have a cpu"),
        ({}, {}, "`past` belongs to a run that begins in the middle"),
        ({"whole_rounds": 1, "length": "1 ms", "staggered": True}, {}, "so many requests long"),
        (
            {"pilot": {"requests": 8}},
            {"roles": [{"who": "all", "steps": [{"barrier": "1 ns"}]}]},
            "`barrier` may wait for a thread whose pilot is over",
        ),
        (
            {"staggered": True},
            {"roles": [{"who": "all", "steps": [{"touch": {"at": "earlier slots"}}]}]},
            "`earlier slots` are those of requests before the first",
        ),
        (
            {"staggered": True},
            {"roles": [{"who": "all", "steps": [{"populate": {"at": "slot"}}]}]},
            "`populate` belongs to what is done before anything is measured",
        ),
    ],
)
def test_what_is_refused(window: dict[str, Any], changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        loop({"warm_up": "8 requests", "length": "16 requests"} | window, **changes)
