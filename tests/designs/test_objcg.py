"""Who pays for the kernel's own objects, and what does a mapping cost while somebody records with perf?"""

from __future__ import annotations

from typing import Any

import pytest
from kernels import BASE, Process

from sim.designs.linux.mm import START_BRK
from sim.mm import READ
from sim.quantities import PAGE_BYTES

CHARGE, UNCHARGE = 1_000_000, 100_000
"""Cycles, far more than all else."""
AT_ONCE = {"free": "at once", "accounted": True}


def in_cgroup(levels: int, machine_levels: int = 0, **cache: Any) -> Process:
    """A process with VMAs that are freed at once, *levels* below the root."""
    costs = {"charge": f"{CHARGE} cycles", "uncharge": f"{UNCHARGE} cycles"}
    memcg = {"levels": levels, "charge_batch": 64, "objects": costs}
    caches = {name: {**AT_ONCE, **cache} for name in ("vm_area_struct", "vma_lock")}
    changes = {"memcg": memcg, "slab": {"caches": caches}}
    return Process("linux", cpus=1, changes=changes, machine={"kernel": {"cgroup_levels": machine_levels}})


def charged(process: Process, *operations: tuple[Any, ...]) -> tuple[int, int]:
    """How many objects *operations* charge and uncharge."""
    before = process.machine.engine.now
    process.do(*operations)
    took = (process.machine.engine.now - before) * process.machine.spec.plain_clock // 10**12
    return took // CHARGE, took % CHARGE // UNCHARGE


@pytest.mark.parametrize(
    ("levels", "machine_levels", "accounted", "objects"),
    [(0, 0, True, 0), (1, 0, True, 2), (0, 2, True, 2), (1, 0, False, 0)],
)
def test_are_a_vma_and_its_lock_charged(
    levels: int, machine_levels: int, accounted: bool, objects: int
) -> None:
    """Not in the root, which is what a design means by 0 levels if the machine knows no better."""
    process = in_cgroup(levels, machine_levels, accounted=accounted)
    assert charged(process, ("mmap", 1, BASE)) == (objects, 0)
    assert charged(process, ("munmap", BASE, 1)) == (0, objects)
    memcg = process.kernel.memcg
    assert len(memcg.counters) == (levels or machine_levels) + bool(levels or machine_levels)
    assert memcg.objects == min(objects, 1)
    assert memcg.stocked == (63 if objects else 0)
    process.verify()


def test_how_many_objects_does_a_page_pay_for() -> None:
    """184 and 40 bytes, each with a pointer; what is left of a page is used before the next one is taken."""
    process = in_cgroup(1)
    each = 184 + 8 + 40 + 8
    count = 3 * PAGE_BYTES // each
    for number in range(count):
        process.do(("mmap", 1, BASE + 2 * number))
    assert process.kernel.memcg.objects == 3
    process.do(("mmap", 1, BASE + 2 * count))
    assert process.kernel.memcg.objects == 4
    for number in range(count + 1):
        process.do(("munmap", BASE + 2 * number, 1))
    assert process.kernel.memcg.objects == 1  # a page at most stays in the stock of bytes
    assert process.kernel.memcg.stocked == 63
    process.verify()


@pytest.mark.parametrize(
    "operation", [("mmap", 1, BASE + 2), ("brk", START_BRK + 1), ("mprotect", BASE, 1, READ)], ids=str
)
def test_is_perf_told_of_a_mapping(operation: tuple[Any, ...]) -> None:
    def time(cost: str) -> int:
        process = Process("linux", cpus=1, machine={"kernel": {"perf_mmap": cost}})
        process.do(("mmap", 1, BASE))
        before = process.machine.engine.now
        process.do(operation)
        return process.machine.engine.now - before

    assert time("100 us") - time("0 us") == 100_000_000
