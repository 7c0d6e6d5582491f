"""Which pages are found in the last-level cache, and which have to leave for others?"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from machines import NS, run, small_machine

from sim.engine import Steps
from sim.hardware import Cpu
from sim.hardware.llc_pages import LlcPages

ROOM = 200
COLD, WARM = 800 * NS, 50 * NS
"""Of the small machine, whose pages leave a cluster within 800 ns each; and of one with what is below."""
CHANGES: dict[str, Any] = {"memory": {"llc": f"{ROOM} pages", "llc_pages": {"clear": "50 ns"}}}


def found(footprint: int, rounds: int = 40) -> float:
    """How much of a list of so many pages is there when they are written round and round."""
    cache, there = LlcPages(1, ROOM, Random(1).random), 0
    for turn in range(rounds * footprint):
        frame = turn % footprint
        if cache.holds(0, frame):
            cache.write(frame)
            there += turn >= rounds * footprint // 2
        else:
            cache.bring(0, frame, written=True)
    return there / (rounds * footprint - rounds * footprint // 2)


@pytest.mark.parametrize(("footprint", "share"), [(ROOM // 2, 1.0), (220, 0.82), (300, 0.42), (800, 0.02)])
def test_is_a_part_found_of_a_list_that_is_longer_than_the_cache(footprint: int, share: float) -> None:
    """A page survives the misses of a round with the chance h = exp(-(1 - h) footprint / room)."""
    assert found(footprint) == pytest.approx(share, abs=0.06)


def test_is_a_page_in_the_cache_of_who_wrote_it_last() -> None:
    cache = LlcPages(2, ROOM, Random(1).random)
    cache.bring(0, 7, written=True)
    assert (cache.holds(0, 7), cache.holds(1, 7)) == (True, False)
    cache.bring(1, 7, written=True)
    assert (cache.holds(0, 7), cache.holds(1, 7)) == (False, True)


def test_leaves_for_a_page_only_what_was_written() -> None:
    """A cache is full of what was written before, from the beginning; then of what is brought in."""
    cache, draw = LlcPages(1, 1, lambda: 0.0), []
    for frame, written in ((1, False), (2, True), (3, False), (None, True), (4, True)):
        draw.append(cache.bring(0, frame, written=written))
    assert draw == [True, False, True, False, True]
    assert cache.holds(0, 4)
    assert not cache.holds(0, 3)


def times(changes: dict[str, Any], *frames: int | None) -> list[int]:
    machine, taken = small_machine(changes), []

    def body(cpu: Cpu) -> Steps[None]:
        for frame in frames:
            before = cpu.now
            yield from machine.memory.clear_page(cpu, 0, frame)
            taken.append(cpu.now - before)

    run(machine, {0: body})
    return taken


def test_does_a_page_that_is_there_need_no_memory() -> None:
    assert times(CHANGES, 1, 1, 2, 1, None, 2) == [COLD, WARM, COLD, WARM, COLD, WARM]


def test_is_a_page_of_which_nobody_knows_the_frame_in_no_cache() -> None:
    assert times(CHANGES, None, None) == [COLD, COLD]


def test_do_huge_pages_push_out_what_is_there() -> None:
    machine, taken = small_machine(CHANGES), []

    def body(cpu: Cpu) -> Steps[None]:
        yield from machine.memory.clear_page(cpu, 0, 1)
        yield from machine.memory.clear_huge_page(cpu, 0, at_once=64)
        yield from machine.memory.clear_huge_page(cpu, 0, at_once=64)
        before = cpu.now
        yield from machine.memory.clear_page(cpu, 0, 1)
        taken.append(cpu.now - before)

    run(machine, {0: body})
    assert taken[0] > WARM
