"""Do threads that spin for each other keep together, and does a touch of drawn pages count what it writes?"""

from __future__ import annotations

from typing import Any

import pytest
from plain import measure, workload

from sim.errors import CortensimError
from sim.workload import Measurement

FOUR_CPUS = {"topology": {"sockets": 1, "clusters_per_socket": 1, "cores_per_cluster": 4, "numa_nodes": 1}}
WINDOW = {"warm_up": "20 us", "length": "200 us"}


def run(steps: list[dict[str, Any]] | None = None, *, threads: int = 4, **changes: Any) -> Measurement:
    empty = dict.fromkeys(("measured", "pooled_threads", "stack", "layout", "placements", "requests"))
    lines = {"word": {"each_thread": "64 B"}, "all": {}, "bed": {"asleep": True}}
    spec = workload(**{**empty, "thread": steps, "window": WINDOW, "lines": lines, **changes})
    return measure(spec, "linux", placement="", threads=threads, machine=FOUR_CPUS)


def roles(step: dict[str, Any]) -> list[dict[str, Any]]:
    """The first thread takes four times as long for a round."""
    return [
        {"who": "first", "steps": [{"compute": "4 us"}, step]},
        {"who": "others", "steps": [{"compute": "1 us"}, step]},
    ]


@pytest.mark.parametrize("step", [{"meet": "all"}, {"keep_pace": "word"}])
def test_is_a_round_as_long_as_that_of_the_slowest_thread(step: dict[str, Any]) -> None:
    """Each operation is a round of one thread: four of them in 4 us, and what the lines take."""
    found = run(thread=None, roles=roles(step))
    assert 0.8 < found.throughput_ops_per_us <= 1
    assert found.breakdown_ns_per_op["user: spin"] == pytest.approx(2250, rel=0.05)  # three of four wait 3 us


def test_is_a_round_at_a_pthread_barrier_as_long_as_the_slowest_and_its_wake_ups() -> None:
    """The three others sleep, and are woken one after the other: none of them spins."""
    found = run(thread=None, roles=roles({"meet": "bed"}))
    assert 0.3 < found.throughput_ops_per_us < 0.8
    assert "user: spin" not in found.breakdown_ns_per_op
    assert found.breakdown_ns_per_op["sched"] > 500


@pytest.mark.parametrize("step", [{"meet": "all"}, {"meet": "bed"}, {"keep_pace": "word"}])
def test_does_a_run_without_a_window_end(step: dict[str, Any]) -> None:
    assert run([{"compute": "1 us"}, step], window=None, requests=5).operations == 20


@pytest.mark.parametrize("step", [{"meet": "all"}, {"meet": "bed"}, {"keep_pace": "word"}])
def test_does_a_thread_on_its_own_wait_for_nobody(step: dict[str, Any]) -> None:
    assert run([{"compute": "1 us"}, step], threads=1).throughput_ops_per_us > 0.9


@pytest.mark.parametrize(
    ("step", "changes", "message"),
    [
        ({"meet": "word"}, {}, "meet"),
        ({"keep_pace": "all"}, {}, "one that all share"),
        ({"keep_pace": "word"}, {"cpus": 2}, "spins"),
        ({"meet": "none"}, {}, "not under `lines`"),
    ],
)
def test_is_a_meeting_that_cannot_be_refused(
    step: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises((ValueError, CortensimError), match=message):
        run([step], **changes)


def test_are_as_many_operations_counted_as_pages_were_drawn() -> None:
    """Of 64 draws 64 (1 - (1 - 1/64)^64) pages in the mean, 40.6; the spread of the mean of 40 is 0.4."""
    layout = {"request": "256 KiB", "stride": "256 KiB", "slots": 1, "base": "4 GiB"}
    steps = [
        {"mmap": {"at": "slot"}},
        {"timed": [{"touch": {"at": "slot", "order": "drawn"}}], "per": "touches"},
    ]
    found = run(steps, threads=1, layout=layout, window=None, requests=40)
    assert found.operations / 40 == pytest.approx(40.6, abs=1.6)
