"""Does interval VM let those work beside each other who may, and does it keep the others apart?"""

from __future__ import annotations

from typing import Any

import pytest
from kernels import BASE, RWSEM_LOCK, Process
from machines import NS
from pydantic import ValidationError

from sim.designs.linux.vma_indexes import IntervalSkipList
from sim.engine import Activity, Probe, Steps
from sim.engine.probe import CpuView, LockView, Mode
from sim.hardware import Cpu
from sim.mm import Mmap, Mprotect, Munmap, Rights, SegmentationFault

US = 1000 * NS
ARENA = 1 << 24
"""Pages of 64 GiB."""

INTERVAL: dict[str, Any] = {
    "vma_index": "interval-skiplist",
    "vma_lock": "interval",
    "mmap_lock": "rwsem-sharded",
    "switches": {"prefetchw_mmap_lock": False},
    "slab": {"caches": {"vma_lock": {"size": "128 B", "align": "64 B", "head": "64 B", "free": "rcu"}}},
    "interval": {
        "levels": 4,
        "branching": 2,
        "arenas": 4,
        "arena_size": "64 GiB",
        "stats": "folded",
        "costs": dict.fromkeys(("node", "lock", "swap"), "10 cycles"),
    },
}


class Takes(Probe):
    def __init__(self) -> None:
        self.taken: list[tuple[str, str]] = []
        self.waited = 0

    def lock_acquired(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        self.taken.append((lock.name, mode))

    def sleep(self, cpu: CpuView, reason: str) -> None:
        self.waited += 1


def interval_vm(cpus: int = 2, *listeners: Probe) -> Process:
    return Process("linux", cpus=cpus, changes=INTERVAL, listeners=listeners)


def index_of(process: Process) -> IntervalSkipList:
    tree = process.space.tree
    tree = getattr(tree, "inner", tree)
    assert isinstance(tree, IntervalSkipList)
    return tree


def test_does_each_cpu_map_in_an_arena_of_its_own() -> None:
    process, found = interval_vm(), {}

    def maps(cpu: Cpu) -> Steps[None]:
        found[cpu.id] = yield from process.space.perform(cpu, Mmap(4))

    process.run({0: maps, 1: maps})
    base = index_of(process).base
    assert {cpu: (at - base) // ARENA for cpu, at in found.items()} == {0: 0, 1: 1}


def test_does_an_munmap_leave_others_their_arena() -> None:
    """While one unmaps, which takes 400 us here, another maps and unmaps all the time."""
    process = Process("linux", cpus=2, changes={**INTERVAL, "costs": {"zap_page": "100 us"}})
    ended: dict[int, int] = {}

    def unmaps(cpu: Cpu) -> Steps[None]:
        at = yield from process.space.perform(cpu, Mmap(4))
        for page in range(at, at + 4):
            yield from process.space.access(cpu, page)
        yield from process.space.perform(cpu, Munmap(at, 4))
        ended[0] = cpu.now

    def maps(cpu: Cpu) -> Steps[None]:
        cpu.work(20 * US, Activity("user"))
        for _ in range(5):
            at = yield from process.space.perform(cpu, Mmap(1))
            yield from process.space.perform(cpu, Munmap(at, 1))
        ended[1] = cpu.now

    process.run({0: unmaps, 1: maps})
    assert ended[1] < ended[0]


def test_which_locks_do_faults_take() -> None:
    """The first makes the table, the first write the anon_vma, under the node's lock; others take none."""
    takes = Takes()
    process = interval_vm(1, takes)
    process.do(("mmap", 4, BASE))
    counts = []
    for page, write in ((0, False), (0, True), (1, True), (2, False)):
        takes.taken.clear()

        def touches(cpu: Cpu, page: int = page, write: bool = write) -> Steps[None]:
            yield from process.space.access(cpu, BASE + page, write=write)

        process.run({0: touches})
        names = [name for name, _ in takes.taken]
        shards = [mode for name, mode in takes.taken if name.startswith("mmap_lock")]
        counts.append((shards, sum(name.startswith("interval lock") for name in names)))
    assert counts == [(["read"], 1), (["read"], 1), ([], 0), ([], 0)]


def test_does_a_fault_see_that_its_vma_has_changed_meanwhile() -> None:
    """It has looked the VMA up before mprotect took the right to write away, and has to look again."""
    process = Process("linux", cpus=2, changes={**INTERVAL, "costs": {"anon_page": "50 us"}})
    process.do(("mmap", 2, BASE), ("touch", BASE))
    refused = []

    def writes(cpu: Cpu) -> Steps[None]:
        try:
            yield from process.space.access(cpu, BASE + 1)
        except SegmentationFault as fault:
            refused.append(str(fault))

    def protects(cpu: Cpu) -> Steps[None]:
        cpu.work(10 * US, Activity("user"))
        yield from process.space.perform(cpu, Mprotect(BASE, 2, Rights(4)))

    process.run({0: writes, 1: protects})
    assert len(refused) == 1


def test_is_a_mapping_across_a_border_found_from_both_sides() -> None:
    process = interval_vm(2)
    border = index_of(process).base + ARENA
    process.do(("mmap", 8, border - 4), *(("touch", border + page) for page in (-4, -1, 0, 3)))
    assert [(each.start, each.end) for each in process.space.mappings()] == [(border - 4, border + 4)]
    process.do(("munmap", border - 2, 4))
    assert [(each.start, each.end) for each in process.space.mappings()] == [
        (border - 4, border - 2),
        (border + 2, border + 4),
    ]
    process.do(("munmap", border - 4, 8), ("mmap", 4, border - 2), ("touch", border))


def test_are_mappings_on_both_sides_of_a_border_two() -> None:
    process = interval_vm(1)
    border = index_of(process).base + ARENA
    process.do(("mmap", 4, border - 4), ("mmap", 4, border))
    assert len(list(process.space.mappings())) == 2


def test_is_a_vma_that_has_changed_found_by_a_new_node() -> None:
    process = interval_vm(1)
    process.do(("mmap", 4, BASE))
    (vma,) = process.space.tree
    before: Any = vma.lock
    process.do(("mmap", 4, BASE + 4))
    (grown,) = process.space.tree
    assert grown is vma
    assert vma.lock is not before
    assert (before.invalid, before.linked) == (True, False)


def test_does_who_is_out_of_room_in_his_arena_get_some_elsewhere() -> None:
    small = {**INTERVAL, "interval": {**INTERVAL["interval"], "arenas": 2, "arena_size": "2 MiB"}}
    takes = Takes()
    process = Process("linux", cpus=1, changes=small, listeners=(takes,))
    found = []

    def maps(cpu: Cpu) -> Steps[None]:
        at = yield from process.space.perform(cpu, Mmap(300))
        found.append(at)

    process.run({0: maps})
    process.run({0: maps})
    process.run({0: maps})
    base = index_of(process).base
    assert [at - base for at in found] == [0, 512, 812]  # his own, another one, above both
    writers = [name for name, mode in takes.taken if name.startswith("mmap_lock") and mode == "write"]
    assert len(writers) == 3 + 2 * process.machine.spec.cpus


def test_do_all_meet_in_one_place_without_arenas() -> None:
    shared = {**INTERVAL, "interval": {**INTERVAL["interval"], "arenas": 0}}
    process = Process("linux", cpus=2, changes=shared)

    def maps(cpu: Cpu) -> Steps[None]:
        for _ in range(4):
            yield from process.space.perform(cpu, Mmap(4))

    process.run({0: maps, 1: maps})
    assert len(list(process.space.tree)) == 1  # side by side, all of it


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"vma_index": "interval-skiplist"}, "goes with the other parts"),
        ({"vma_lock": "interval"}, "goes with the other parts"),
        ({"mmap_lock": "rwsem-sharded"}, "goes with the other parts"),
        ({**INTERVAL, "interval": None}, "goes with the other parts"),
        ({**INTERVAL, "switches": {"prefetchw_mmap_lock": True}}, "to prefetch"),
        (
            {
                **INTERVAL,
                "slab": RWSEM_LOCK.get(
                    "slab",
                    {"caches": {"vma_lock": {"size": "40 B", "align": "8 B", "head": "40 B", "free": "rcu"}}},
                ),
            },
            "begins a cache line",
        ),
    ],
)
def test_is_half_of_it_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Process("linux", changes=changes)
