"""Who may be in a mapping, and who may change it: does each rule catch a kernel that breaks it?"""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from checked import US, WAITING, caught, checked
from kernels import BASE, REFCOUNT_LOCK, RWSEM_LOCK, Process
from machines import small_machine

from sim.check import Checks, Violation
from sim.designs.linux.vma_indexes import HeardIndex
from sim.designs.linux.vma_locks.refcount import RefcountVmaLock
from sim.designs.linux.vma_locks.rwsem import RwSemVmaLock
from sim.designs.linux.vma_locks.sequence import MmLockSeq
from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.mm import READ, READ_WRITE, Mprotect, Touch, new_root
from sim.verify.mutants import MUTANTS

BOTH_LOCKS = pytest.mark.parametrize(
    ("lock", "kind"),
    [(RWSEM_LOCK, RwSemVmaLock), (REFCOUNT_LOCK, RefcountVmaLock)],
    ids=["rwsem", "refcount"],
)


def protects(space: Any, cpu: Cpu) -> Steps[None]:
    """One changes rights of all of the VMA, and the others touch it."""
    for turn in range(4):
        if cpu.id == 0:
            yield from space.perform(cpu, Mprotect(BASE - 2, 2, READ if turn % 2 else READ_WRITE))
        else:
            yield from space.perform(cpu, Touch((BASE - 1,), write=False))


def test_is_a_change_of_a_whole_vma_without_a_mark_caught() -> None:
    """The index is not written to."""
    checked("linux", protects)
    with MUTANTS["mprotect-locks-no-vma"].applied():
        message = caught("linux", protects)
    assert message.startswith("a VMA changes only while its lock is held for writing: ")
    assert "mprotect of pages" in message


@BOTH_LOCKS
def test_is_a_fault_in_a_marked_vma_caught(
    monkeypatch: pytest.MonkeyPatch, lock: dict[str, Any], kind: type
) -> None:
    """It does not look at marks."""

    def enters(self: Any, cpu: Cpu) -> Steps[bool]:
        return True
        yield

    monkeypatch.setattr(kind, "start_read", enters)
    monkeypatch.setattr(kind, "end_read", lambda self, cpu: iter(()))
    message = caught("linux", protects, cpus=6, changes=lock)
    assert message.startswith("nobody is in a VMA that a writer has marked: ")


@BOTH_LOCKS
def test_is_a_writer_that_waits_for_no_fault_caught(
    monkeypatch: pytest.MonkeyPatch, lock: dict[str, Any], kind: type
) -> None:
    def marks(self: Any, cpu: Cpu) -> Steps[None]:
        self._mark = self._mm.seq.value
        return
        yield

    monkeypatch.setattr(kind, "start_write", marks)
    message = caught("linux", protects, cpus=6, changes=lock)
    assert message.startswith("nobody is in a VMA that a writer has marked: ")
    assert "is in it" in message


@pytest.mark.parametrize("name", ["reader-looks-once-at-the-mark", "refcount-reader-looks-once-at-the-mark"])
def test_is_a_mark_that_came_between_two_looks_seen(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A writer comes and marks the VMA after the fault's first look, and before it has the lock."""
    lock = REFCOUNT_LOCK if name.startswith("refcount") else RWSEM_LOCK
    read = MmLockSeq.read

    def early(seq: MmLockSeq, cpu: Cpu, activity: Activity) -> Steps[int]:
        """What cpu 0 finds when it looks first is what was there before the writer."""
        value = yield from read(seq, cpu, activity)
        looked.append(cpu.id)
        return value - 1 if looked.count(0) == 1 else value

    def fault_beside_a_writer() -> None:
        process = Process("linux", cpus=2, listeners=Checks().listeners, changes=lock)
        process.do(("mmap", 2, BASE), cpu=1)
        space, vma = process.space, process.space.tree.peek(BASE)
        looked.clear()

        def writes(cpu: Cpu) -> Steps[None]:
            yield from space.write_lock(cpu)
            yield from vma.lock.start_write(cpu)
            cpu.work(10 * US, WAITING)
            yield cpu.take_pending()
            yield from space.write_unlock(cpu)

        def faults(cpu: Cpu) -> Steps[None]:
            cpu.work(5 * US, WAITING)
            yield cpu.take_pending()
            yield from space.access(cpu, BASE)

        process.run({0: faults, 1: writes})

    looked: list[int] = []
    monkeypatch.setattr(MmLockSeq, "read", early)
    fault_beside_a_writer()
    with (
        MUTANTS[name].applied(),
        pytest.raises(Violation, match="nobody is in a VMA that a writer"),
    ):
        fault_beside_a_writer()


def test_is_a_vma_that_has_become_another_one_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was unmapped and given out again between the look at the index and the lock."""
    process = Process("linux", cpus=1, listeners=Checks().listeners, changes=REFCOUNT_LOCK)
    process.do(("mmap", 2, BASE), ("mmap", 2, BASE + 8))
    other = process.space.tree.peek(BASE + 8)

    def late(index: HeardIndex, cpu: Cpu, page: int) -> Steps[Any]:
        return other
        yield

    monkeypatch.setattr(HeardIndex, "find", late)
    process.do(("touch", BASE + 8))
    with (
        MUTANTS["vma-reuse-unseen"].applied(),
        pytest.raises(Violation, match="what a fault has locked is the VMA that is there"),
    ):
        process.do(("touch", BASE))


class InRanges(NamedTuple):
    """A mapping of a design whose threads have their ranges to themselves."""

    start: int
    end: int


@pytest.mark.parametrize(("low", "high", "right"), [(8, 16, True), (10, 12, True), (20, 24, False)])
def test_is_a_mapping_changed_in_its_range_only(low: int, high: int, right: bool) -> None:
    """A design without a lock over all mappings."""
    checks = Checks()
    machine = small_machine(listeners=checks.listeners)
    cpu, probe = machine.cpus[0], machine.engine.probe
    space = SimpleNamespace(mappings_guards=lambda task, mapping: None, root=new_root(machine, 0, 0))
    probe.range_locked(space, cpu, low, high)
    with nullcontext() if right else pytest.raises(Violation, match="mappings change under the lock"):
        probe.mappings_change(space, None, cpu, [InRanges(8, 16)])
