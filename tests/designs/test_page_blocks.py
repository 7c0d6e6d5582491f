"""The Linux page allocator and LLFree under benches: blocks of several pages, and what saturates."""

from __future__ import annotations

import pytest

from sim.files import load_spec
from sim.workload import Budget, WorkloadSpec, simulate

BUDGET = Budget(events=5_000_000, simulated_ps=10**12)


def latency(design: str, order: int, operation: str, threads: int, count: int) -> float:
    """ns of one operation when all threads work in bulk."""
    pages = {"count": count, "order": order}
    take, give = {"allocate": pages}, {"free": pages}
    timed = {"timed": [take if operation == "get" else give], "per": count}
    steps = [{"barrier": "1 us"}, timed if operation == "get" else take]
    steps += [{"barrier": "1 us"}, give if operation == "get" else timed]
    bench = WorkloadSpec.model_validate(
        {
            "name": "bulk",
            "title": "",
            "requests": 1,
            "roles": [{"who": "all", "steps": steps}],
        },
        strict=False,
    )
    machine, kernel = load_spec("machine", "xeon-5320").spec, load_spec("design", design).spec
    return simulate(
        machine,  # type: ignore[arg-type]
        kernel,  # type: ignore[arg-type]
        bench,
        placement="",
        threads=threads,
        seed=1,
        budget=BUDGET,
    ).latency_mean_ns


@pytest.mark.parametrize(("order", "count"), [(0, 2000), (9, 40)])
def test_does_a_saturated_zone_lock_take_a_constant_time_for_each_thread(order: int, count: int) -> None:
    eight, sixteen = (latency("linux-buddy", order, "get", threads, count) for threads in (8, 16))
    assert sixteen == pytest.approx(2 * eight, rel=0.1)


def test_is_a_large_block_checked_under_the_lock_when_taken_and_outside_when_given_back() -> None:
    """Two threads that take blocks are in each other's way; two that give them back are not."""
    assert latency("linux-buddy", 9, "get", 2, 40) > 1.7 * latency("linux-buddy", 9, "get", 1, 40)
    assert latency("linux-buddy", 9, "put", 2, 40) < 1.3 * latency("linux-buddy", 9, "put", 1, 40)


@pytest.mark.parametrize("operation", ["get", "put"])
def test_do_threads_of_llfree_keep_out_of_each_others_way(operation: str) -> None:
    one, many = (latency("llfree", 0, operation, threads, 2000) for threads in (1, 16))
    assert many == pytest.approx(one, rel=0.02)
