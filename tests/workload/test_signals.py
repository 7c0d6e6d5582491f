"""What does a thread do that gets a signal?"""

from __future__ import annotations

from typing import Any

import pytest
from plain import measure, workload

from sim.errors import InputError
from sim.workload import Budget

READ_ONLY = {"mmap": {"at": "own slots", "prot": "r"}}
WRITE = {"touch": {"at": "slot"}}
BUDGET = Budget(10**6, 10**12)
PLAIN: dict[str, Any] = {"thread": None, "measured": None, "stack": None, "placements": {"low": {}}}


def caught(**handled: Any) -> dict[str, Any]:
    return {"signals": {"steps": [WRITE], **handled}}


def run(*steps: dict[str, Any], prepare: tuple[dict[str, Any], ...] = (READ_ONLY,), threads: int = 1) -> Any:
    role = {"who": "all", "prepare": list(prepare), "steps": list(steps)}
    layout = {"request": "4 KiB", "stride": "2 MiB", "base": "64 GiB"}
    spec = workload(**PLAIN, roles=[role], layout=layout)
    return measure(spec, kind="linux", threads=threads, budget=BUDGET)


def time(found: Any) -> float:
    return float(sum(found.breakdown_ns_per_op.values()))


def test_ends_a_signal_that_nobody_waits_for_the_point() -> None:
    with pytest.raises(Exception, match="may not write page"):
        run(WRITE)


def test_goes_a_thread_on_behind_the_step_that_got_a_signal() -> None:
    """Delivery and return are system time (the test's kernel has no cost but the call), and take the
    process's siglock four times."""
    handled, plain = run(caught()), run({"touch": {"at": "slot", "write": False}})
    assert handled.operations == 4
    assert "syscall" not in plain.breakdown_ns_per_op
    assert handled.breakdown_ns_per_op["syscall"] > 0
    assert handled.breakdown_ns_per_op["lock: signals"] > 0
    assert time(run(caught(handler=[{"compute": "5 us"}]))) == pytest.approx(time(handled) + 5000, rel=0.01)


def test_is_a_step_done_again_that_the_handler_makes_possible() -> None:
    allow = {"mprotect": {"at": "slot", "prot": "rw"}}
    assert run(caught(handler=[allow], then="retry")).operations == 4
    with pytest.raises(Exception, match="may not write page"):
        run(caught(handler=[{"compute": "1 us"}], then="retry"))


def test_does_memory_that_is_not_mapped_give_the_same_signal() -> None:
    bring = {"mmap": {"at": "slot"}}
    assert run(caught(handler=[bring], then="retry"), prepare=()).operations == 4
    assert run(caught(), prepare=()).operations == 4


def test_ends_a_thread_that_handles_no_signal() -> None:
    """The other one is not stopped by that: it may read."""
    roles = [
        {"who": "first", "prepare": [READ_ONLY], "steps": [caught(then="end")]},
        {"who": "others", "prepare": [READ_ONLY], "steps": [{"touch": {"at": "slot", "write": False}}]},
    ]
    layout = {"request": "4 KiB", "stride": "2 MiB", "base": "64 GiB"}
    spec = workload(**PLAIN, roles=roles, layout=layout)
    assert measure(spec, kind="linux", threads=2, budget=BUDGET).operations == 4


@pytest.mark.parametrize(
    ("handled", "message"),
    [
        ({"then": "retry"}, "needs a `handler`"),
        ({"then": "end", "handler": [{"compute": "1 us"}]}, "there is no `handler`"),
        ({"handler": [{"sleep": "1 us"}]}, "steps that work on memory, compute and syscall, not sleep"),
    ],
)
def test_what_may_not_be_said_of_signals(handled: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, InputError), match=message):
        run(caught(**handled))
