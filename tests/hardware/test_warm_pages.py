"""Is a page that was in use a moment ago zeroed in the cache?"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from kernels import BASE, Process
from machines import NS, SIBLINGS, run, small_machine

from sim.engine import Activity, Steps
from sim.hardware import ZERO, Cpu, Machine
from sim.hardware.warm_pages import WarmPages

WARM: dict[str, Any] = {"memory": {"warm_pages": {"size": "4 pages", "clear": "50 cycles"}}}
HOT, COLD = 50 * NS, 400 * NS
"""A cold page is limited by the cluster's link."""


def times(plan: list[tuple[int, int]], changes: dict[str, Any] = WARM) -> list[int]:
    """Zero the frames of *plan*, (cpu, frame), one after the other: how long each takes."""
    machine = small_machine({**changes, "memory": {**changes["memory"], "llc": "1 MiB"}})
    taken = [0] * len(plan)

    def body(cpu: Cpu) -> Steps[None]:
        for turn, (owner, frame) in enumerate(plan):
            if owner == cpu.id:
                cpu.stall(turn * 1_000 * NS - cpu.now, Activity("user"))
                yield cpu.take_pending()
                yield from machine.memory.clear_page(cpu, 0, frame)
                taken[turn] = cpu.pending

    run(machine, dict.fromkeys({cpu for cpu, _ in plan}, body))
    return taken


def test_is_a_frame_cold_at_first_and_warm_the_second_time() -> None:
    assert times([(0, 7), (0, 7), (0, 8), (0, 7)]) == [COLD, HOT, COLD, HOT]


def test_does_a_frame_get_cold_when_as_much_as_the_caches_hold_has_come_after_it() -> None:
    assert times([(0, frame) for frame in (1, 2, 3, 4, 1)])[-1] == HOT
    assert times([(0, frame) for frame in (1, 2, 3, 4, 5, 1)])[-1] == COLD


def test_does_a_warm_frame_push_no_other_out() -> None:
    assert times([(0, frame) for frame in (1, 2, 3, 4, 4, 4, 1)])[-1] == HOT


def test_is_a_frame_cold_for_another_core_and_then_for_the_first_one() -> None:
    assert times([(0, 1), (1, 1), (0, 1)]) == [COLD, COLD, COLD]


def test_do_siblings_share_the_caches_of_their_core() -> None:
    assert times([(0, 1), (16, 1)], {**SIBLINGS, **WARM}) == [COLD, HOT]


def test_does_zeroing_in_the_cache_take_no_bandwidth() -> None:
    """Four cpus of a cluster queue for its link with cold pages, and not with warm ones."""
    machine = small_machine(WARM)
    second: list[int] = []

    def body(cpu: Cpu) -> Steps[None]:
        yield from machine.memory.clear_page(cpu, 0, cpu.id)
        cpu.stall(10_000 * NS - cpu.now - cpu.pending, Activity("user"))
        yield from machine.memory.clear_page(cpu, 0, cpu.id)
        second.append(cpu.pending)

    run(machine, dict.fromkeys(range(4), body))
    assert second == [HOT] * 4


def test_does_a_copy_into_a_page_that_is_in_the_cache_fetch_only_its_source() -> None:
    """Each page takes 400 ns of the cluster's link: a cold copy fetches two pages, a warm one one."""

    def taken(machine: Machine, frames: list[int]) -> list[int]:
        def body(cpu: Cpu) -> Steps[None]:
            for frame in frames:
                yield from machine.memory.copy_page(cpu, 0, frame)
                found.append(cpu.pending)
                yield cpu.take_pending()

        found: list[int] = []
        run(machine, {0: body})
        return found

    assert taken(small_machine(WARM), [7, 7, 8, 7]) == [2 * COLD, COLD, 2 * COLD, COLD]
    assert taken(small_machine(), [7, 7]) == [2 * COLD, 2 * COLD]


def test_does_a_copy_take_the_core_as_long_as_reading_a_page_however_fast_the_links_are() -> None:
    """300 cycles for a copy and 200 for a page that is only written: 100 are for the source, at 1 GHz."""
    fast = {"cluster_read": "4000 GB/s", "socket_bandwidth": "4000 GB/s", "clear_page": "200 cycles"}
    machine = small_machine({"memory": {**WARM["memory"], **fast}})

    def body(cpu: Cpu) -> Steps[None]:
        for cost in (300, 100):
            yield from machine.memory.copy_page(cpu, 0, 7)
            assert cpu.pending == cost * NS
            yield cpu.take_pending()

    run(machine, {0: body})


def test_do_other_pages_that_pass_push_frames_out() -> None:
    """Copies bring their source and their target, huge pages all of themselves."""

    def last(machine: Machine, pages: int) -> int:
        def body(cpu: Cpu) -> Steps[None]:
            yield from machine.memory.clear_page(cpu, 0, 1)
            yield from machine.memory.copy_page(cpu, 0, pages=pages)
            yield cpu.take_pending()
            yield from machine.memory.clear_page(cpu, 0, 1)
            found.append(cpu.pending)

        found: list[int] = []
        run(machine, {0: body})
        return found[0]

    assert last(small_machine(WARM), pages=1) == HOT
    assert last(small_machine(WARM), pages=2) > HOT


def test_is_every_frame_cold_on_a_machine_whose_file_says_nothing() -> None:
    assert times([(0, 7), (0, 7)], {"memory": {}}) == [COLD, COLD]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6)), max_size=40))
def test_are_they_the_frames_that_a_core_filled_last(fills: list[tuple[int, int]]) -> None:
    """Beside a list that is searched: least recently filled, first out."""
    warm = WarmPages(cores=3, room=3)
    held: list[list[int]] = [[] for _ in range(3)]
    for core, frame in fills:
        assert warm.fill(core, frame) == (frame in held[core])
        for each in held:
            if frame in each:
                each.remove(frame)
        held[core] = [*held[core], frame][-3:]


def test_does_linux_zero_a_page_in_the_cache_that_this_cpu_has_just_freed() -> None:
    """The list of free pages is last in, first out."""
    process = Process("linux", machine=WARM)
    process.do(("mmap", 4, BASE), *(("touch", BASE + page) for page in range(4)))
    process.do(("madvise", BASE, 4, "dontneed"), *(("touch", BASE + page) for page in range(4)))
    assert process.cpus[0].spent[ZERO] == 4 * HOT


def test_is_a_page_cold_that_another_cpu_filled_and_this_one_freed() -> None:
    process = Process("linux", machine=WARM)
    process.do(("mmap", 1, BASE), ("touch", BASE), cpu=1)
    process.do(("madvise", BASE, 1, "dontneed"), ("touch", BASE), cpu=0)
    assert process.cpus[0].spent[ZERO] == COLD
