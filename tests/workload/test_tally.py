"""Do idle share, interrupts per flush and context switches say what happened, on the whole machine?"""

from __future__ import annotations

from typing import Any

import pytest
from plain import measure, workload

from sim.workload import Measurement

ONE_CPU = {"topology": {"sockets": 1, "clusters_per_socket": 1, "cores_per_cluster": 1, "numa_nodes": 1}}
FOUR_CPUS = {"topology": {"sockets": 1, "clusters_per_socket": 1, "cores_per_cluster": 4, "numa_nodes": 1}}
HALF_ASLEEP = [{"compute": "10 ms"}, {"sleep": "10 ms"}]
WINDOW = {"warm_up": "5 ms", "length": "200 ms"}


def run(
    steps: list[dict[str, Any]] | None = None,
    *,
    threads: int = 1,
    machine: dict[str, Any] = ONE_CPU,
    kind: str = "linux",
    **changes: Any,
) -> Measurement:
    """A windowed workload without slots on a machine of few cpus."""
    empty = dict.fromkeys(("measured", "pooled_threads", "stack", "layout", "placements", "requests"))
    spec = workload(**{**empty, "thread": steps, "window": WINDOW, **changes})
    return measure(spec, kind, placement="", threads=threads, machine=machine)


def test_is_a_cpu_whose_thread_sleeps_half_of_the_time_idle_half_of_the_time() -> None:
    """Less a switch of 1 us away and the handler that wakes it, in 20 ms."""
    assert run(HALF_ASLEEP).idle_share == pytest.approx(0.5, abs=0.002)


@pytest.mark.parametrize(
    ("steps", "threads", "idle"),
    [
        ([{"compute": "10 us"}], 1, 0.75),
        ([{"compute": "10 us"}], 3, 0.25),
        ([{"compute": "10 us"}], 4, 0),
        (HALF_ASLEEP, 4, 0.5),
    ],
)
def test_are_cpus_without_a_thread_idle(steps: list[dict[str, Any]], threads: int, idle: float) -> None:
    assert run(steps, threads=threads, machine=FOUR_CPUS).idle_share == pytest.approx(idle, abs=0.002)


def test_is_idle_time_after_the_last_request_counted_where_there_is_no_window() -> None:
    """One thread of two computes twice as long as the other."""
    roles = [
        {"who": "first", "steps": [{"compute": "2 ms"}]},
        {"who": "others", "steps": [{"compute": "1 ms"}]},
    ]
    found = run(threads=2, machine=FOUR_CPUS, window=None, requests=3, roles=roles)
    assert found.idle_share == pytest.approx((2 + 0.5) / 4)


def test_is_a_sleep_two_context_switches() -> None:
    assert run(HALF_ASLEEP).context_switches_per_op == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_does_a_flush_alone_interrupt_each_other_cpu_once(threads: int) -> None:
    flushes = [{"compute": "50 us"}, {"touch": {"at": "slot"}}, {"madvise": {"at": "slot"}}]
    roles = [
        {"who": "first", "steps": flushes},
        {"who": "others", "measured": False, "steps": [{"compute": "1 us"}]},
    ]
    layout = {"request": "4 KiB", "stride": "4 KiB", "slots": 1}
    found = run(
        threads=threads, machine=FOUR_CPUS, roles=roles, layout=layout, setup=[{"mmap": {"at": "layout"}}],
        window={"warm_up": "1 ms", "length": "5 ms"},
    )  # fmt: skip
    assert found.interrupts_per_flush == pytest.approx(threads - 1, rel=0.05)


def test_do_flushes_that_come_together_share_interrupts() -> None:
    """All cpus flush all the time: a target finds several calls in its queue."""
    layout = {"request": "4 KiB", "stride": "4 KiB", "slots": 1}
    found = run(
        [{"touch": {"at": "slot"}}, {"madvise": {"at": "slot"}}],
        threads=16, machine={}, layout=layout, setup=[{"mmap": {"at": "layout"}}],
        window={"warm_up": "100 us", "length": "500 us"},
    )  # fmt: skip
    assert found.interrupts_per_flush is not None
    assert 1 < found.interrupts_per_flush < 0.7 * 15


def test_has_a_run_without_flushes_no_interrupts_per_flush() -> None:
    assert run([{"compute": "10 us"}]).interrupts_per_flush is None


def test_do_staggered_threads_refill_at_different_times() -> None:
    """100 requests of 1 us, then a sleep: in the first 50 us only who begins in the middle comes to it."""
    work: dict[str, Any] = {"thread": [{"compute": "1 us"}], "refill": [{"sleep": "1 ms"}], "requests": 100}
    together, apart = (
        run(threads=16, machine={}, window={"warm_up": "0 us", "length": "50 us", **more}, **work)
        for more in ({}, {"staggered": True})
    )
    assert (together.operations, together.idle_share) == (16 * 49, 0)
    assert 0.3 * 16 * 49 < apart.operations < 0.9 * 16 * 49
    assert apart.idle_share is not None
    assert 0.1 < apart.idle_share < 0.6


def test_do_threads_begin_asleep_where_the_window_says_so() -> None:
    """Four threads want one mutex all the time: three of them spin for it, or go to sleep first."""
    work: dict[str, Any] = {
        "locks": {"guard": {"kind": "mutex"}},
        "steps": [{"lock": "guard"}, {"compute": "1 us"}, {"unlock": "guard"}],
    }
    awake, asleep = (
        run(
            threads=4,
            machine=FOUR_CPUS,
            window={"warm_up": "0 us", "length": "20 us", "start": start},
            **work,
        )
        for start in ("awake", "asleep")
    )
    assert (awake.idle_share, awake.context_switches_per_op) == (0, 0)
    assert asleep.idle_share is not None
    assert asleep.idle_share > 0.05


def test_is_no_other_start_accepted() -> None:
    with pytest.raises(ValueError, match="'awake', 'asleep' or 'from-idle'"):
        run([{"compute": "1 us"}], window={"warm_up": "0 us", "length": "9 us", "start": "drowsy"})


def test_is_each_process_set_up_once_where_each_thread_has_one() -> None:
    """The set-up maps the layout of each process: two threads touch the same page of two spaces."""
    roles = [{"who": "all", "process": "own", "steps": [{"touch": {"at": "slot"}}]}]
    layout = {"request": "4 KiB", "stride": "64 KiB"}
    found = run(
        threads=2, machine=FOUR_CPUS, roles=roles, layout=layout, setup=[{"mmap": {"at": "layout"}}],
        window=None, requests=3,
    )  # fmt: skip
    assert found.operations == 6
    assert "tlb flush" not in found.breakdown_ns_per_op


def test_does_a_process_read_what_it_has() -> None:
    """Two reads, of three pages and of seven; an empty process reads nothing of itself by itself."""
    reads = [
        {"mmap": {"at": "anywhere", "size": "12 KiB"}},
        {"touch": {"at": "mapped"}},
        {"read_status": True},
        {"mmap": {"at": "anywhere", "size": "16 KiB"}},
        {"touch": {"at": "mapped"}},
        {"read_status": True},
    ]
    found = run(reads, window=None, requests=1).status
    assert found is not None
    assert found.resident == 5 * 4096
    assert found.page_tables == 3 * 4096  # one of each level below the root
    assert run(HALF_ASLEEP).status is None
