"""Do the steps `malloc`, `mfree` and `realloc` do under a kernel what they say?"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from plain import measure, workload
from pydantic import ValidationError

from sim.engine import Probe
from sim.engine.probe import CpuView


class Asked(Probe):
    """How often each operation was asked for, and which pages were touched."""

    def __init__(self) -> None:
        self.times: Counter[str] = Counter()

    def operation_begins(self, cpu: CpuView, operation: Any) -> None:
        self.times[operation.name] += 1


def allocating(*steps: dict[str, Any], allocator: Any = "ptmalloc", requests: int = 2) -> Any:
    return workload(
        stack=None,
        layout=None,
        measured=None,
        pooled_threads=None,
        requests=requests,
        placements={},
        allocator=allocator,
        thread=[{"compute": "1 us"}, *steps],
    )


BLOCK = {"malloc": {"size": "1 KiB"}}

BUFFERS = [
    {"malloc": {"size": "2200 B", "name": "out"}},
    *({"malloc": {"size": "64 KiB", "name": name}} for name in "abcd"),
    *({"mfree": {"name": name}} for name in "dcba"),
]


@pytest.mark.parametrize("kind", ["linux", "adv", "rw"])
def test_each_thread_has_an_arena_and_trims_it_twice_a_round(kind: str) -> None:
    asked = Asked()
    measure(allocating(*BUFFERS, requests=3), kind, placement="", threads=2, probe=asked)
    assert asked.times["mmap"] == 2
    assert asked.times["madvise"] == 2 * 3 * 2


def test_who_takes_from_caches_asks_less_than_who_trims() -> None:
    asked = Asked()
    measure(allocating(*BUFFERS, allocator="jemalloc"), "linux", placement="", threads=2, probe=asked)
    assert (asked.times["mmap"], asked.times["madvise"]) == (2, 0)


def test_what_is_handed_over_another_thread_may_free() -> None:
    """Each thread hands a block over and frees the one that was handed over first."""
    steps = [
        {"malloc": {"size": "8 KiB", "name": "out"}},
        {"realloc": {"name": "out", "size": "4 KiB", "hand_over": True}},
        {"mfree": {"name": "out", "shared": True, "keep": 1}},
    ]
    measure(allocating(*steps, requests=4), "linux", placement="", threads=3)


@pytest.mark.parametrize(
    ("steps", "allocator", "message"),
    [
        ([BLOCK], None, "without an `allocator`"),
        (
            [{"mfree": {"name": "other"}}, {"malloc": {"size": "1 KiB"}}],
            "units",
            "nothing is allocated as 'other'",
        ),
        (
            [{"mfree": {"shared": True}}, {"malloc": {"size": "1 KiB"}}],
            "units",
            "nothing shared by all threads",
        ),
        ([BLOCK], "mymalloc", "mymalloc"),
    ],
)
def test_a_step_that_cannot_work_is_refused(
    steps: list[dict[str, Any]], allocator: Any, message: str
) -> None:
    with pytest.raises((ValidationError, Exception), match=message):
        allocating(*steps, allocator=allocator).plan("")
