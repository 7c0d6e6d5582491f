"""Are the latencies of the parts of a request those that its steps have on their own?"""

from __future__ import annotations

from typing import Any

import pytest
from plain import measure, workload

from sim.workload import Measurement

TWO_CPUS = {"topology": {"sockets": 1, "clusters_per_socket": 1, "cores_per_cluster": 2, "numa_nodes": 1}}
STEPS: dict[str, dict[str, Any]] = {
    "mmap": {"mmap": {"at": "anywhere", "size": "16 KiB"}},
    "touch": {"touch": {"at": "mapped"}},
    "munmap": {"munmap": {"at": "mapped"}},
}
WINDOW = {"warm_up": "16 requests", "length": "64 requests"}


def run(steps: list[dict[str, Any]], threads: int = 1, **changes: Any) -> Measurement:
    """A windowed workload without slots on a machine of two cpus without spread."""
    empty = dict.fromkeys(("measured", "pooled_threads", "stack", "layout", "placements", "requests"))
    spec = workload(**{**empty, "thread": steps, "window": WINDOW, "part_latencies": True, **changes})
    return measure(spec, "linux", placement="", threads=threads, machine=TWO_CPUS)


@pytest.mark.parametrize("part", STEPS)
def test_does_a_part_take_what_it_takes_when_it_is_timed_alone(part: str) -> None:
    """The step times the system call as well; the part does not."""
    alone = [{"timed": [step]} if name == part else step for name, step in STEPS.items()]
    timed, parts = run(alone), run(list(STEPS.values())).parts_ns
    entry = 0 if part == "touch" else timed.breakdown_ns_per_op["syscall"]
    assert timed.latency_mean_ns - entry < parts[part] + 1
    assert parts[part] == pytest.approx(timed.latency_mean_ns - entry / 2, rel=0.15)


def test_do_the_parts_make_up_the_request() -> None:
    """With the border that the kernel is entered by, and nothing beside; four faults a touch of 16 KiB."""
    found = run(list(STEPS.values()))
    parts, entry = found.parts_ns, found.breakdown_ns_per_op["syscall"]
    assert sum(parts[name] for name in STEPS) + entry == pytest.approx(found.latency_mean_ns, rel=0.02)
    assert (
        4 * parts["fault"]
        < parts["touch"]
        < 4 * parts["fault"] + found.breakdown_ns_per_op["fault entry"] + found.breakdown_ns_per_op["user"]
    )


def test_is_a_flush_that_interrupts_nobody_no_shootdown() -> None:
    alone, two = run(list(STEPS.values())), run(list(STEPS.values()), threads=2)
    assert "shootdown" not in alone.parts_ns
    assert 0 < two.parts_ns["shootdown"] < two.parts_ns["munmap"]


def test_are_results_the_same_whether_parts_are_asked_for_or_not() -> None:
    with_parts, without = (
        run(list(STEPS.values()), threads=2, part_latencies=asked) for asked in (True, False)
    )
    assert without.parts_ns == {}
    assert (with_parts.events, with_parts.breakdown_ns_per_op) == (
        without.events,
        without.breakdown_ns_per_op,
    )
