"""How many pages leave the LRU under one lru_lock?"""

from __future__ import annotations

import pytest
from kernels import BASE, Process

from sim.designs.linux.page_batches import batches
from sim.engine import Probe, Steps
from sim.engine.probe import CpuView, LockView, Mode
from sim.hardware import Cpu
from sim.mm import Mmap, Prepopulate


class Sections(Probe):
    """How long each section of lru_lock was."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self._since = 0

    def lock_acquired(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        if "lruvec" in lock.name:
            self._since = cpu.engine.now + cpu.pending

    def lock_release(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        if "lruvec" in lock.name:
            self.lengths.append(cpu.engine.now + cpu.pending - self._since)


def freed(pages: int, given_up: int, release: int, *, bulk: bool) -> Sections:
    """The sections of an munmap of *pages* that are on the LRU, with the two sizes of batches."""
    changes = {
        "limits": {"lru_batch": 1, "lru_release_batch": release},
        "memcg": {"uncharge_batch": given_up},
        "switches": {"lru_drain_on_zap": False},
    }
    seen = Sections()
    process = Process("linux", changes=changes, listeners=(seen,))

    def body(cpu: Cpu) -> Steps[None]:
        yield from process.space.perform(cpu, Mmap(pages, BASE))
        yield from process.space.perform(cpu, Prepopulate(BASE, pages))

    if bulk:
        process.run({0: body})
    else:
        process.do(("mmap", pages, BASE), *(("touch", BASE + page) for page in range(pages)))
    seen.lengths.clear()
    process.do(("munmap", BASE, pages))
    assert not list(process.kernel.lru.lists)
    return seen


@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize(
    ("given_up", "release", "sections"),
    [
        (31, 31, [31, 31, 31, 7]),  # since 6.9: folios_put_refs of a folio batch
        (80, 32, [32, 32, 16, 20]),  # until 6.8: release_pages of a batch of mmu_gather
    ],
)
def test_how_many_pages_leave_their_lists_under_one_lock(
    given_up: int, release: int, sections: list[int], bulk: bool
) -> None:
    lengths = freed(100, given_up, release, bulk=bulk).lengths
    lock, page = lengths[-1] - sections[-1] * 10_000, 10_000  # a page is 10 cycles at 1 GHz
    assert lengths[1:] == [lock + pages * page for pages in sections[1:]]
    assert lengths[0] >= lock + sections[0] * page  # the lists come from another cpu perhaps


@pytest.mark.parametrize(
    ("frames", "size", "expected"),
    [
        ([], 3, []),
        ([5], 3, [[5]]),
        ([5, range(10, 17), 3], 3, [[5, range(10, 12)], [range(12, 15)], [range(15, 17), 3]]),
        ([range(3), 7], 3, [[range(3)], [7]]),
    ],
)
def test_are_batches_full_but_for_the_last(
    frames: list[int | range], size: int, expected: list[list[int | range]]
) -> None:
    assert list(batches(frames, size)) == expected
