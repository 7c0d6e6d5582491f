"""How does process_madvise go through its ranges, kernel by kernel?"""

from __future__ import annotations

from typing import Any

import pytest
from held import Held
from kernels import BASE, Process

from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import Advice, Errno, ProcessMadvise

PARTS = (range(BASE, BASE + 2), range(BASE + 8, BASE + 10))


def asks(process: Process, *parts: range, advice: Advice = "dontneed") -> Any:
    answers = []

    def body(cpu: Cpu) -> Steps[None]:
        answer = yield from process.space.perform(cpu, ProcessMadvise(parts, advice))
        answers.append(answer)

    process.run({0: body})
    return answers[0]


def two_mappings(how: str, held: Held | None = None, lock: str = "mmap") -> Process:
    changes = {"switches": {"process_madvise": how, "dontneed_lock": lock}}
    process = Process("linux", changes=changes, listeners=[held] if held else [])
    process.do(("mmap", 4, BASE), ("mmap", 4, BASE + 8), ("touch", BASE + 1), ("touch", BASE + 8))
    return process


@pytest.mark.parametrize(
    ("how", "lock", "events"),
    [
        ("each", "mmap", ["read", "flush 1", "release", "read", "flush 1", "release"]),
        ("once", "mmap", ["read", "flush 1", "flush 1", "release"]),
        ("one-flush", "mmap", ["read", "flush 8", "release"]),
        ("one-flush", "vma", ["flush 8"]),
    ],
)
@pytest.mark.parametrize("advice", ["dontneed", "free"])
def test_how_often_is_mmap_lock_taken_and_how_often_is_flushed(
    how: str, lock: str, events: list[str], advice: Advice
) -> None:
    held = Held()
    process = two_mappings(how, held, lock)
    held.heard()
    assert asks(process, *PARTS, advice=advice) == 4
    assert held.heard() == events
    process.end()


def test_is_a_range_of_two_vmas_advised_under_mmap_lock_and_all_that_follow() -> None:
    """try_vma_read_lock: once it has failed, mmap_lock stays."""
    held = Held()
    process = two_mappings("one-flush", held, "vma")
    process.do(("mprotect", BASE, 1, 1))
    held.heard()
    assert asks(process, range(BASE, BASE + 2), range(BASE + 8, BASE + 9)) == 3
    assert held.heard() == ["read", "flush 8", "release"]


@pytest.mark.parametrize("how", ["each", "once", "one-flush"])
def test_does_it_end_at_the_first_range_that_is_refused(how: str) -> None:
    process = two_mappings(how)
    hole = range(BASE + 4, BASE + 6)
    assert asks(process, range(BASE, BASE + 2), hole, range(BASE + 8, BASE + 9)) == 2
    assert not process.is_present(BASE + 1)
    assert process.is_present(BASE + 8)
    assert asks(process, hole, range(BASE + 8, BASE + 9)) is Errno.ENOMEM
    assert asks(process) == 0
    assert asks(process, range(BASE, BASE)) == 0
    assert asks(process, *(1025 * [range(BASE, BASE + 1)])) is Errno.EINVAL
    process.do(("mmap", 1, BASE + 99), cpu=1)  # nobody has left a lock locked
    process.end()


def test_is_it_for_others_only_until_6_12() -> None:
    process = two_mappings("remote")
    assert asks(process, *PARTS) is Errno.EINVAL
    assert process.is_present(BASE + 1)


def test_is_one_flush_that_of_madvise_too() -> None:
    held = Held()
    process = two_mappings("one-flush", held)
    process.do(("mmap", 4, BASE + 4))
    process.do(("mprotect", BASE + 5, 1, 1))
    held.heard()
    process.do(("madvise", BASE, 12))
    assert held.heard() == ["read", "flush 8", "release"]
