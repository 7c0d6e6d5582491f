"""A spin lock in the place of an rwsem: does it keep readers from each other?"""

from __future__ import annotations

import pytest
from kernels import BASE, Process
from machines import NS, run, small_machine
from pydantic import ValidationError

from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.sync import CnaLock, ExclusiveRw, NumaAwareNodes, QueuedSpinLock, QueueNodes, spin_lock
from sim.verify.kernels import design

LOCK = Activity("lock")
CNA = {"mmap_lock": "cna", "cna": {"threshold": "10 us", "spin_locks": False}}


def test_do_readers_exclude_each_other_and_does_a_downgrade_give_nothing_away() -> None:
    machine = small_machine()
    lock = ExclusiveRw(spin_lock(QueueNodes(machine, "nodes"), machine.line("word"), LOCK, "it"))
    inside: list[tuple[int, str, int]] = []
    missed: list[bool] = []

    def reads(cpu: Cpu) -> Steps[None]:
        yield from lock.read_lock(cpu)
        inside.append((cpu.id, "in", cpu.now))
        cpu.work(1000 * NS, Activity("user"))
        yield cpu.take_pending()
        inside.append((cpu.id, "out", cpu.now))
        yield from lock.read_unlock(cpu)

    def writes(cpu: Cpu) -> Steps[None]:
        yield from lock.write_lock(cpu)
        yield from lock.write_downgrade(cpu)
        inside.append((cpu.id, "in", cpu.now))
        cpu.work(1000 * NS, Activity("user"))
        yield cpu.take_pending()
        inside.append((cpu.id, "out", cpu.now))
        yield from lock.read_unlock(cpu)

    def tries(cpu: Cpu) -> Steps[None]:
        cpu.work(1500 * NS, Activity("user"))
        missed.append(not (yield from lock.read_trylock(cpu)))

    run(machine, {0: reads, 1: writes, 2: reads, 3: tries})
    assert [what for _, what, _ in sorted(inside, key=lambda each: each[2])] == ["in", "out"] * 3
    assert missed == [True]


@pytest.mark.parametrize("kind", ["qspinlock", "cna"])
def test_is_mmap_lock_of_that_kind_and_no_other_lock(kind: str) -> None:
    process = Process("linux", changes={**CNA, "mmap_lock": kind})
    process.do(("mmap", 1, BASE), ("touch", BASE), ("munmap", BASE, 1))
    mm, kernel = process.space, process.kernel
    assert isinstance(mm.mmap_lock, ExclusiveRw)
    assert type(mm.mmap_lock.inner) is (CnaLock if kind == "cna" else QueuedSpinLock)
    assert type(mm.page_table_lock) is QueuedSpinLock
    assert (mm.mmap_lock.name, mm.mmap_lock.activity.name) == ("mmap_lock", "lock: mmap_lock")
    assert not isinstance(kernel.nodes, NumaAwareNodes)


def test_is_a_cna_mmap_lock_without_a_threshold_refused() -> None:
    with pytest.raises(ValidationError, match="needs its threshold"):
        design("linux", {"mmap_lock": "cna"})
