"""Does Linux swap out what is not used when memory is short, and bring it back as it was?"""

from __future__ import annotations

from typing import Any

import pytest
from kernels import BASE, Process, design
from machines import NS, Tally
from pydantic import ValidationError
from swapping import DEVICES, DRIVE, TINY, ZRAM, Swapping, swap

from sim.designs.linux.lru_lists import LruLists
from sim.engine import Activity, Probe, Steps
from sim.engine.probe import CpuView
from sim.hardware import Cpu
from sim.mm import (
    READ,
    Errno,
    Fork,
    Madvise,
    Mincore,
    Mlock,
    Mmap,
    Mprotect,
    Mremap,
    Munmap,
    OutOfMemory,
    SwitchMm,
)
from sim.mm.invariants import BrokenInvariant

BOTH = pytest.mark.parametrize("device", DEVICES)
MORE = 2300
"""Pages that do not fit into the 2048 of the machine."""


class Traffic(Probe):
    """What went to the device and came back, and what was free at the least."""

    def __init__(self) -> None:
        self.written: list[int] = []
        self.read: list[int] = []

    def page_out(self, cpu: CpuView, frame: int, slot: int) -> None:
        self.written.append(slot)

    def page_in(self, cpu: CpuView, frame: int, slot: int) -> None:
        self.read.append(slot)


def paged_out(device: str, pages: int, **options: Any) -> Swapping:
    """The first *pages* pages have been written, and swapped out by advice."""
    swapping = Swapping(device, **options)
    swapping.do(Mmap(pages, BASE), Madvise(BASE, pages, "populate_write"))
    swapping.run(*map(swapping.write, range(pages)))
    swapping.do(Madvise(BASE, pages, "pageout"))
    assert swapping.swapped(pages) == list(range(pages))
    return swapping


def forget(swapping: Swapping) -> None:
    """Reclaim finds what a drive has written: it is not in memory any more."""
    kernel = swapping.kernel
    swapping.run(lambda cpu: kernel.reclaimer.try_to_free_pages(cpu, kernel.pages.zones))
    assert not kernel.swap.frame_of


# -- memory is short ------------------------------------------------------------------------------------


@BOTH
def test_is_more_memory_than_there_is_kept_as_it_was_written(device: str) -> None:
    swapping = Swapping(device)
    swapping.do(Mmap(MORE, BASE))
    written = swapping.run(*map(swapping.write, range(MORE)))
    assert MORE - 2048 < len(swapping.swapped(MORE)) < 700
    assert swapping.space.stat.swap_entries == len(swapping.swapped(MORE))
    assert swapping.run(*map(swapping.read, range(0, MORE, 3)), cpu=1) == written[::3]
    swapping.do(Munmap(BASE, MORE))
    assert not swapping.kernel.swap.slots.users
    assert not swapping.kernel.swap.frame_of
    swapping.end()


def test_does_a_page_that_is_used_again_and_again_stay() -> None:
    swapping = Swapping()
    swapping.do(Mmap(MORE, BASE))
    hot = range(4)
    for start in range(4, MORE, 64):
        swapping.run(*map(swapping.write, [*range(start, min(start + 64, MORE)), *hot]))
    assert not set(hot) & set(swapping.swapped(MORE))
    assert min(swapping.swapped(MORE)) < 64


def test_is_free_memory_left_to_the_kernel() -> None:
    swapping = Swapping()
    zone = swapping.kernel.pages.zones[0]
    assert (zone.wmark_min, zone.wmark_low) == (64, 80)
    least = zone.buddy.free_frames
    swapping.do(Mmap(MORE, BASE))
    for start in range(0, MORE, 50):
        swapping.run(*map(swapping.write, range(start, min(start + 50, MORE))))
        least = min(least, zone.buddy.free_frames)
    assert 64 - 4 <= least < 80  # a batch of four pages comes at once


def test_are_the_watermarks_what_linux_computes() -> None:
    kernel: Any = Process(
        "linux", cpus=1, machine=TINY | {"memory": {"size_per_socket": "1 GiB"}},
        changes=swap(ZRAM, min_free=None),
    ).kernel  # fmt: skip
    zone = kernel.pages.zones[0]
    assert zone.wmark_min == 1024  # 4 MiB: 16 times the root of 1 Mi KiB is 4096 KiB
    assert zone.wmark_low == 1024 + 262  # a thousandth of the zone is more than a quarter of that


def test_is_memory_out_where_swap_is_full_and_nothing_lost() -> None:
    swapping = Swapping(size="256 KiB")
    swapping.do(Mmap(2100, BASE))

    def fill(cpu: Cpu) -> Steps[int]:
        for page in range(2100):
            try:
                yield from swapping.space.access(cpu, BASE + page)
            except OutOfMemory:
                return page
        return 2100

    (came,) = swapping.run(fill)
    assert 1960 < came < 2060
    assert not swapping.kernel.swap.slots.left
    swapping.do(Munmap(BASE, 2100))
    swapping.end()


def test_is_locked_memory_left_alone() -> None:
    swapping = Swapping()
    swapping.do(Mmap(MORE, BASE), Mlock(BASE, 300))
    swapping.run(*map(swapping.write, range(MORE)))
    assert min(swapping.swapped(MORE)) >= 300
    assert swapping.do(Madvise(BASE, 1, "pageout"), Madvise(BASE, 1, "cold")) == [Errno.EINVAL] * 2
    swapping.end()


def test_is_memory_that_may_be_dropped_not_written() -> None:
    traffic = Traffic()
    swapping = Swapping(listeners=(traffic,))
    swapping.do(Mmap(MORE, BASE))
    swapping.run(*map(swapping.write, range(200)))
    swapping.do(Madvise(BASE, 200, "free"))
    kept = swapping.run(swapping.write(7))
    swapping.run(*map(swapping.write, range(200, MORE)))
    gone = [page for page in range(200) if not swapping.process.is_present(BASE + page)]
    assert len(gone) > 150
    assert not set(gone) & set(swapping.swapped(200))
    assert swapping.run(swapping.read(7), swapping.read(gone[0])) == [*kept, 0]


# -- one page ---------------------------------------------------------------------------------------------


@BOTH
def test_is_a_page_in_the_cache_in_core(device: str) -> None:
    """What a drive writes is still in memory; zram's page is gone when the call returns."""
    swapping = paged_out(device, 5)
    (found,) = swapping.do(Mincore(BASE, 5))
    assert found == [device == "drive"] * 5


def test_is_a_page_that_was_not_written_since_not_written_again() -> None:
    """It keeps its slot; one that was written gives that up."""
    traffic = Traffic()
    swapping = paged_out("drive", 4, listeners=(traffic,))
    assert len(traffic.written) == 4
    swapping.run(*map(swapping.read, range(3)), swapping.write(3))
    swapping.do(Madvise(BASE, 4, "pageout"))
    assert len(traffic.written) == 5
    assert swapping.swapped(4) == [0, 1, 2, 3]


@BOTH
def test_do_two_threads_that_want_a_page_read_it_once(device: str) -> None:
    traffic = Traffic()
    swapping = paged_out(device, 1, cpus=4, listeners=(traffic,))
    forget(swapping)
    found: list[int] = []

    def reader(cpu: Cpu) -> Steps[None]:
        found.append((yield from swapping.read(0)(cpu)))

    swapping.process.run(dict.fromkeys(range(4), reader))
    assert found == [1] * 4
    assert len(traffic.read) == 1
    swapping.do(Munmap(BASE, 1))
    swapping.end()


def test_does_a_fault_let_its_lock_go_while_a_drive_reads() -> None:
    """mprotect of the VMA need not wait the 60 us."""
    swapping = paged_out("drive", 1)
    forget(swapping)
    ended: dict[str, int] = {}

    def reader(cpu: Cpu) -> Steps[None]:
        begun = cpu.now
        yield from swapping.read(0)(cpu)
        ended["fault"] = cpu.now - begun

    def writer(cpu: Cpu) -> Steps[None]:
        cpu.work(5_000 * NS, Activity("user"))
        begun = cpu.now
        yield from swapping.space.perform(cpu, Mprotect(BASE, 1, READ))
        ended["mprotect"] = cpu.now - begun

    swapping.process.run({0: reader, 1: writer})
    assert ended["fault"] > 61_000 * NS
    assert ended["mprotect"] < 10_000 * NS


@BOTH
def test_do_parent_and_child_have_a_swapped_page_until_one_writes(device: str) -> None:
    swapping = paged_out(device, 3)
    parent = swapping.space

    def fork(cpu: Cpu) -> Steps[Any]:
        child = yield from parent.perform(cpu, Fork())
        swapping.process.spaces.append(child)
        return child

    (child,) = swapping.run(fork)
    assert swapping.kernel.swap.slots.users == {0: 2, 1: 2, 2: 2}
    before = swapping.run(*map(swapping.read, range(2)))
    swapping.run(swapping.write(1))

    def enter(space: Any) -> Any:
        def step(cpu: Cpu) -> Steps[None]:
            yield from swapping.process.load(cpu, space)
            swapping.space = space

        return step

    values = swapping.run(enter(child), swapping.read(0), swapping.read(1), swapping.write(2), enter(parent))
    assert values[1:3] == before
    assert swapping.run(swapping.read(2)) == [3]
    swapping.do(Munmap(BASE, 3))
    swapping.run(enter(child))
    swapping.do(Munmap(BASE, 3), SwitchMm(child))
    assert not any(swapping.kernel.swap.slots.users.values())


def test_does_a_swapped_page_move_with_its_range() -> None:
    swapping = paged_out("zram", 4)
    swapping.do(Mremap(BASE, 4, 4, to=BASE + 100))
    assert swapping.swapped(4) == []
    assert swapping.run(swapping.read(103)) == [4]
    swapping.do(Munmap(BASE + 100, 4))
    swapping.end()
    assert not swapping.kernel.swap.slots.users


# -- flushes ----------------------------------------------------------------------------------------------


def test_are_pages_flushed_before_they_are_written_and_clean_ones_together() -> None:
    tally = Tally()
    swapping = Swapping("drive", listeners=(tally,))
    swapping.do(Mmap(8, BASE))
    swapping.run(*map(swapping.write, range(8)))

    def flushes(*steps: Any) -> int:
        before = tally.flushes
        swapping.run(*steps)
        return tally.flushes - before

    pageout = swapping.step(Madvise(BASE, 8, "pageout"))
    assert flushes(pageout) == 8
    swapping.run(*map(swapping.read, range(8)))
    assert flushes(pageout) == 2  # and one for what was put off before


def test_does_munmap_flush_what_reclaim_has_put_off() -> None:
    swapping = paged_out("drive", 2)
    assert swapping.space.flush_pending
    swapping.do(Munmap(BASE, 2))
    assert not swapping.space.flush_pending


def test_does_a_scan_leave_a_page_alone_that_is_being_freed() -> None:
    """Its last owner has gone, and waits for lru_lock to take it off the list (folio_try_get)."""
    swapping = paged_out("zram", 1)
    lru = swapping.kernel.lru
    free = next(frame for frame in range(2048) if frame not in swapping.kernel.pages.in_use.refcount)
    lru.lists.add(free)

    def body(cpu: Cpu) -> Steps[None]:
        others = yield from lru.isolate(cpu, 0, "inactive", 8)
        assert others
        assert free not in others
        assert free in lru.lists
        lru.lists.discard(free)
        yield from lru.put_back(cpu, 0, dict.fromkeys(others, "inactive"))

    swapping.process.run({0: body})


# -- bookkeeping ------------------------------------------------------------------------------------------


def test_do_lists_keep_their_order() -> None:
    lists = LruLists(2, 100)
    lists.update([5, 3, 150])
    lists.add(7, "active")
    lists.move(3, "rotated")
    assert lists.isolate(0, "inactive", 9) == [3, 5]
    assert 3 not in lists
    assert lists.inactive_is_low(0)
    assert not lists.inactive_is_low(1)
    assert list(lists) == [7, 150]


def test_is_a_slot_that_is_counted_wrong_noticed() -> None:
    swapping = paged_out("zram", 2)
    swapping.kernel.swap.slots.users[0] = 2
    with pytest.raises(BrokenInvariant, match="swap slot 0 counts 2 users and 1 entries name it"):
        swapping.process.verify()


def test_is_a_swap_counter_that_is_off_noticed() -> None:
    swapping = paged_out("zram", 2)
    swapping.space.stat.swap_entries += 1
    with pytest.raises(BrokenInvariant, match="swap_entries is 3, counted again 2"):
        swapping.process.verify()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (swap({**ZRAM, **DRIVE}), "either `compressed` memory or a `block` device"),
        (swap({}), "either `compressed` memory or a `block` device"),
        (swap(ZRAM, size="5 KiB"), "whole number of pages"),
    ],
)
def test_is_a_device_that_cannot_be_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        design("linux", changes)
