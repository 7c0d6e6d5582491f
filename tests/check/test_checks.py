"""Does each check catch a kernel that breaks its invariant, and let the right one through?"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from checked import US, WAITING, caught, checked, nothing
from kernels import BASE, GIB, LEAF, REFCOUNT_LOCK, RWSEM_LOCK, Process
from machines import run, small_machine

from sim.check import Bounds, Checks, Stuck, Violation
from sim.check.order import LockOrder
from sim.designs.cortenmm.cursor import Cursor
from sim.designs.cortenmm.mm import CortenMm
from sim.designs.linux import fault, madvise, mprotect, munmap
from sim.designs.linux.fault_retry import FaultRetry
from sim.designs.linux.gather import Gather
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.page_cache import Inode
from sim.designs.linux.space_locks import SpaceLocks
from sim.designs.linux.vma_indexes import HeardIndex, VmaIndex
from sim.designs.linux.vma_locks.refcount import RefcountVmaLock
from sim.designs.linux.vma_locks.rwsem import RwSemVmaLock
from sim.engine import Steps
from sim.errors import ModelError
from sim.hardware import Cpu, InterruptController
from sim.mm import (
    READ,
    WRITE,
    Fork,
    LazyFlush,
    Mmap,
    MmapShared,
    Mprotect,
    Munmap,
    Present,
    SynchronousFlush,
    Touch,
)
from sim.sync import BravoLock, McsLock, PhaseFairLock, QueueNodes, Rcu, RwSem, VisibleReaders
from sim.verify.mutants import MUTANTS


class Without:
    """Something but for some of its attributes."""

    def __init__(self, thing: object, **others: object) -> None:
        self._thing = thing
        self.__dict__.update(others)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._thing, name)


class Unlocked:
    """A lock that excludes nobody."""

    acquire = release = write_lock = write_unlock = nothing


# -- the right kernels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linux", "rw", "adv", "coarse", "nontransactional", "optimistic"])
def test_are_right_kernels_let_through(kind: str) -> None:
    checks = checked(kind)
    assert checks.sampled.moments == 0  # only between the begin and the end of a measured run
    assert checks.scene.ended


@pytest.mark.parametrize("lock", [RWSEM_LOCK, REFCOUNT_LOCK], ids=["rwsem", "refcount"])
def test_are_right_vma_locks_let_through(lock: dict[str, Any]) -> None:
    checked("linux", changes=lock)


# -- Linux ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [munmap, madvise], ids=["munmap", "madvise"])
def test_is_zapping_without_the_page_table_lock_caught(monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    zap = module.zap
    monkeypatch.setattr(
        module, "zap", lambda mm, *rest: zap(Without(mm, table_lock=lambda _: Unlocked()), *rest)
    )
    message = caught("linux")
    assert message.startswith("entries are written under the lock of their table (PTL, I9): ")
    assert "nobody has it" in message
    assert ("munmap of pages" if module is munmap else "madvise of pages") in message
    assert "to repeat: this test" in message


def test_is_mmap_under_a_read_lock_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SpaceLocks, "lock_all", lambda locks, cpu: locks.mmap_lock.read_lock(cpu))
    monkeypatch.setattr(SpaceLocks, "unlock", lambda locks, cpu: locks.mmap_lock.read_unlock(cpu))
    assert caught("linux").startswith("mappings change under the lock that guards them: ")


@pytest.mark.parametrize(
    ("lock", "kind"),
    [(RWSEM_LOCK, RwSemVmaLock), (REFCOUNT_LOCK, RefcountVmaLock)],
    ids=["rwsem", "refcount"],
)
def test_is_a_vma_without_a_write_mark_caught(
    monkeypatch: pytest.MonkeyPatch, lock: dict[str, Any], kind: type
) -> None:
    monkeypatch.setattr(kind, "start_write", nothing)
    assert caught("linux", changes=lock).startswith("a VMA changes only while its lock is held for writing: ")


def test_is_a_downgrade_before_detaching_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    gather = munmap._gather

    def early(mm: LinuxMm, cpu: Cpu, start: int, end: int) -> Steps[Any]:
        yield from mm.write_downgrade(cpu)
        return (yield from gather(mm, cpu, start, end))

    def unmaps(mm: LinuxMm, cpu: Cpu, at: int, pages: int, *, lazily: bool) -> Steps[Any]:
        vmas = yield from early(mm, cpu, at, at + pages)
        yield from munmap._complete(mm, cpu, vmas)
        yield from mm.mmap_lock.read_unlock(cpu)

    monkeypatch.setattr(munmap, "unmap", unmaps)
    assert caught("linux").startswith("mappings change under the lock that guards them: ")


def test_is_a_frame_that_is_freed_before_the_flush_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def flush(gather: Gather, cpu: Cpu) -> Steps[None]:
        frames, gather.frames = gather.frames, []
        if frames:
            yield from gather._mm.lru.release(cpu, frames)
        yield from gather.flush_tlbs(cpu)

    monkeypatch.setattr(Gather, "flush", flush)
    message = caught("linux")
    assert message.startswith("no frame is freed while a TLB translates to it (I12): ")
    assert "flushes" not in message


def test_is_a_flush_left_out_of_mprotect_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gather, "flush_tlbs", nothing)
    monkeypatch.setattr(SynchronousFlush, "flush", nothing)

    def protects(space: Any, cpu: Cpu) -> Steps[None]:
        at = BASE + 4096 * cpu.id
        yield from space.perform(cpu, Mmap(4, at))
        yield from space.perform(cpu, Touch(range(at, at + 4)))
        yield from space.perform(cpu, Mprotect(at, 4, READ))

    for kind in ("linux", "adv"):
        message = caught(kind, protects)
        assert message.startswith("no translation is staler than an operation that has returned (I13): ")
        assert "can still write page" in message


def test_is_a_fork_without_a_flush_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent may still write to what is copied on a write from now on."""
    monkeypatch.setattr(SynchronousFlush, "flush", nothing)

    def forks(space: Any, cpu: Cpu) -> Steps[None]:
        yield from space.perform(cpu, Touch((BASE - 2,)))
        yield from space.perform(cpu, Fork())

    for kind in ("linux", "adv"):
        message = caught(kind, forks, cpus=1, touched=False)
        assert message.startswith("no translation is staler than an operation that has returned (I13): ")
        assert "copy on write" in message


def test_is_a_page_that_nobody_has_zeroed_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LinuxMm, "new_zeroed_page", lambda mm, cpu: mm.pages.allocate(cpu))
    assert caught("linux").startswith("no page is shown that nobody has zeroed, copied or read in: ")


def test_is_a_write_to_the_page_of_zeros_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def reads_first(space: Any, cpu: Cpu) -> Steps[None]:
        yield from space.perform(cpu, Touch((BASE - 1,), write=False))
        yield from space.perform(cpu, Touch((BASE - 1,)))

    monkeypatch.setattr(Present, "writable", property(lambda entry: bool(entry.rights & WRITE)))
    assert caught("linux", reads_first).startswith("the page of zeros is not written (I16): ")


def test_is_copy_on_write_without_a_flush_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another cpu has read the page before, and goes on with the old one."""

    def writes_last(space: Any, cpu: Cpu) -> Steps[None]:
        yield from space.perform(cpu, Touch((BASE - 1,), write=False))
        cpu.work(100 * US, WAITING)
        yield cpu.take_pending()
        if not cpu.id:
            yield from space.perform(cpu, Touch((BASE - 1,)))

    checked("linux", writes_last)
    monkeypatch.setattr(SynchronousFlush, "flush", nothing)
    message = caught("linux", writes_last)
    assert message.startswith("no translation is staler than an operation that has returned (I13): ")


def test_is_a_count_that_lacks_an_update_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it runs: before the end, and even if it is right again by then."""
    checks = Checks()
    process = Process("linux", cpus=1, listeners=checks.listeners)
    checks.sampled.run_begins(process.cpus)
    process.do(("mmap", 2, BASE))
    process.space.stat.total_vm += 1
    with pytest.raises(Violation, match="counters equal a recount: total_vm"):
        process.do(*[("mmap", 1, BASE + 8 * each) for each in range(8)])


def test_are_vmas_that_overlap_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VmaIndex, "overlapping", lambda *_: [])
    monkeypatch.setattr(HeardIndex, "overlapping", lambda *_: [], raising=False)

    def maps(space: Any, cpu: Cpu) -> Steps[None]:
        yield from space.perform(cpu, Mmap(8, BASE, READ))
        yield from space.perform(cpu, Mmap(8, BASE + 4))

    assert caught("linux", maps, cpus=1).startswith("VMAs are well-formed and disjoint: ")


def test_is_an_entry_with_more_rights_than_its_mapping_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mprotect, "_change_protection", nothing)
    message = caught("linux")
    assert message.startswith("entries lie in mappings, with no more rights than theirs: ")


def test_is_a_change_of_the_mappings_of_a_file_without_its_lock_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change = Inode.change_mappings

    def unlocked(inode: Inode, *arguments: Any, **named: Any) -> Steps[None]:
        lock, inode.i_mmap_rwsem = inode.i_mmap_rwsem, Unlocked()  # type: ignore[assignment]
        steps = change(inode, *arguments, **named)
        yield from steps
        inode.i_mmap_rwsem = lock

    monkeypatch.setattr(Inode, "change_mappings", unlocked)

    def maps(space: Any, cpu: Cpu) -> Steps[None]:
        yield from space.perform(cpu, MmapShared(4))

    assert caught("linux", maps).startswith("a list is changed under its lock (i_mmap_rwsem): ")


@pytest.mark.parametrize("kind", ["linux", "adv"])
def test_is_a_cpu_that_is_forgotten_by_who_flushes_caught(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A cpu that enters a space is not noted in its mask."""
    checks = Checks()
    process = Process(kind, cpus=2, listeners=checks.listeners)
    process.do(("mmap", 2, BASE))

    def touches(cpu: Cpu) -> Steps[None]:
        yield from process.space.perform(cpu, Touch((BASE,)))

    monkeypatch.setattr(type(process.space.tlb), "loaded_on", [process.cpus[0]])
    process.run({0: touches})
    with pytest.raises(Violation, match=r"who flushes a space knows all cpus .* \(I14\): cpu 1 loads"):
        process.run({1: touches})


# -- CortenMM -------------------------------------------------------------------------------------------


def crowd(space: Any, cpu: Cpu) -> Steps[None]:
    """All at the same few pages."""
    for _ in range(8):
        yield from space.perform(cpu, Mmap(8, BASE + 8 * cpu.id))
        yield from space.perform(cpu, Touch(range(BASE + 8 * cpu.id, BASE + 8 * cpu.id + 8)))
        yield from space.perform(cpu, Munmap(BASE + 8 * cpu.id, 8))


@pytest.mark.parametrize("kind", ["adv", "coarse", "optimistic"])
def test_are_two_in_one_range_caught(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """The table's lock lets everybody in, and says so."""
    monkeypatch.setattr(McsLock, "_acquire", nothing)
    monkeypatch.setattr(McsLock, "_release", nothing)
    assert caught(kind, crowd).startswith("a lock excludes: ")


@pytest.mark.parametrize("kind", ["rw", "adv"])
def test_is_a_transaction_without_locks_caught(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """The locks are not even asked for."""
    for lock, verbs in (
        (McsLock, ("acquire", "release")),
        (BravoLock, ("read_lock", "read_unlock", "write_lock", "write_unlock")),
    ):
        for verb in verbs:
            monkeypatch.setattr(lock, verb, nothing)
    assert re.match(
        r"(the table that covers a locked range is|entries .* are written under)", caught(kind, crowd)
    )


def test_is_a_write_outside_of_the_range_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that is over before anything is done in it."""
    lock, unlock = CortenMm.lock, CortenMm.unlock

    def short(space: CortenMm, cpu: Cpu, start: int, end: int) -> Steps[Cursor]:
        cursor = yield from lock(space, cpu, start, end)
        yield from unlock(space, cursor)
        return cursor

    monkeypatch.setattr(CortenMm, "lock", short)
    monkeypatch.setattr(CortenMm, "unlock", nothing)
    assert caught("coarse").startswith("entries of upper tables are written under a lock: ")
    assert caught("adv").startswith("tables are walked under a lock or in a read section (I8): ")


def test_is_a_record_of_a_lazy_flush_that_is_freed_early_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """LATR: the frames go back when the record is published, and others have not swept."""
    lazily = LazyFlush.flush_lazily

    def early(self: LazyFlush, cpu: Cpu, removed: Any, release: Any) -> Steps[None]:
        release(cpu)
        yield from lazily(self, cpu, removed, lambda _: None)

    monkeypatch.setattr(LazyFlush, "flush_lazily", early)

    def shares(space: Any, cpu: Cpu) -> Steps[None]:
        yield from space.perform(cpu, Touch((BASE - 2,)))
        cpu.work(US * (1 + cpu.id), WAITING)
        yield cpu.take_pending()
        if cpu.id == 0:
            yield from space.perform(cpu, Munmap(BASE - 2, 1))

    assert caught("adv", shares).startswith("no frame is freed while a TLB translates to it (I12): ")


def test_is_a_frame_with_two_owners_caught() -> None:
    checks = Checks()
    process = Process("adv", cpus=1, listeners=checks.listeners)
    process.do(("mmap", 2, BASE), ("touch", BASE))
    (frame, *_) = checks.translations.given
    with pytest.raises(Violation, match=r"a frame has one owner \(I12\)"):
        process.machine.engine.probe.frame_allocated(process.cpus[0], frame, 0)


def test_is_a_freed_table_that_is_read_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """adv without a grace period: tables are freed at once, while others walk through them."""
    monkeypatch.setattr(Rcu, "defer", lambda rcu, cpu, callback: free_now(cpu, callback))
    found = ""
    for seed in range(20):
        try:
            checked("adv", walks, cpus=4, seed=seed, changes={"costs": {"walk_level": "3000 cycles"}})
        except Violation as violation:
            found = str(violation)
            break
        except ModelError:
            continue  # it touched what was unmapped
    assert "(I7)" in found or "(I8)" in found


def free_now(cpu: Cpu, callback: Any) -> Steps[None]:
    callback(cpu)
    return
    yield


def walks(space: Any, cpu: Cpu) -> Steps[None]:
    """One unmaps two gibibytes, with the tables of level 2, while others walk through them to map pages."""
    draw = cpu.engine.stream(f"test {cpu.id}").random
    for _ in range(30):
        cpu.work(int(draw() * US), WAITING)
        if cpu.id:
            yield from space.perform(cpu, Mmap(1, BASE + LEAF * int(draw() * 4)))
        else:
            yield from space.perform(cpu, Munmap(BASE, 2 * GIB))


# -- waiting --------------------------------------------------------------------------------------------


def locks(count: int, **bounds: int) -> tuple[Checks, Any, list[McsLock]]:
    """A machine, and so many locks, `a`, `b`, ..."""
    checks = Checks(bounds=Bounds(**bounds))
    machine = small_machine(listeners=checks.listeners)
    nodes = QueueNodes(machine, "mcs")
    names = "abcdef"[:count]
    return checks, machine, [McsLock(nodes, machine.line(name), WAITING) for name in names]


def known(*locks: McsLock) -> Callable[[Cpu], Steps[None]]:
    """Somebody has had each of them."""

    def body(cpu: Cpu) -> Steps[None]:
        for lock in locks:
            yield from lock.acquire(cpu)
            yield from lock.release(cpu)

    return body


def takes(first: McsLock, second: McsLock, after: int = 0) -> Callable[[Cpu], Steps[None]]:
    def body(cpu: Cpu) -> Steps[None]:
        cpu.work(after + 1, WAITING)
        yield cpu.take_pending()
        yield from first.acquire(cpu)
        cpu.work(US, WAITING)
        yield from second.acquire(cpu)
        yield from second.release(cpu)
        yield from first.release(cpu)

    return body


def test_are_locks_in_opposite_orders_caught_where_nobody_meets() -> None:
    _, machine, (a, b) = locks(2)
    run(machine, {3: known(a, b)})
    with pytest.raises(
        Violation, match=r"locks are taken in one order .*cpu 1 has b and wants a, but cpu 0 had a"
    ):
        run(machine, {0: takes(a, b), 1: takes(b, a, after=100 * US)})


def test_are_three_locks_in_a_circle_caught() -> None:
    _, machine, (a, b, c) = locks(3)
    run(machine, {3: known(a, b, c)})
    with pytest.raises(Violation, match=r"circle: c -> a -> b -> c"):
        run(machine, {0: takes(a, b), 1: takes(b, c, after=100 * US), 2: takes(c, a, after=200 * US)})


def test_is_one_order_let_through() -> None:
    _, machine, (a, b) = locks(2)
    run(machine, {3: known(a, b)})
    run(machine, {0: takes(a, b), 1: takes(a, b), 2: takes(a, b)})


def test_does_a_deadlock_name_its_circle_while_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told when it closes, so a thread that polls on does not hide it."""
    monkeypatch.setattr(LockOrder, "wants", lambda *_: None)
    _, machine, (a, b) = locks(2)
    run(machine, {3: known(a, b)})

    def polls(cpu: Cpu) -> Steps[None]:
        while True:
            yield US

    with pytest.raises(
        Stuck, match=r"deadlock: cpu \d has [ab] and waits for [ab]; cpu \d has [ab] and waits for [ab]"
    ):
        run(machine, {0: takes(a, b), 1: takes(b, a), 2: polls})


def test_is_a_lost_wake_up_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RwSem, "_wake", nothing)

    def holds(space: Any, cpu: Cpu) -> Steps[None]:
        if cpu.id == 0:  # a holder that sleeps: nobody spins for him
            yield from space.mmap_lock.write_lock(cpu)
            yield from space.kernel.scheduler.nap(cpu, 100 * US, WAITING)
            yield from space.mmap_lock.write_unlock(cpu)
        else:
            cpu.work(50 * US, WAITING)
            yield from space.perform(cpu, Mmap(1, BASE))

    message = caught("linux", holds)
    assert "deadlock: no circle: a wake-up was lost" in message
    assert "waits for mmap_lock (write): nobody has it" in message


def test_is_a_call_that_nobody_answers_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InterruptController, "_arrive", lambda *_: None)

    def shares(space: Any, cpu: Cpu) -> Steps[None]:
        yield from space.perform(cpu, Touch((BASE - 2,)))
        if cpu.id == 0:
            cpu.work(10 * US, WAITING)
            yield from space.perform(cpu, Munmap(BASE - 2, 1))
        else:
            cpu.work(100 * US, WAITING)

    message = caught("linux", shares, cpus=2)
    assert "cpu 0 waits for the answer of cpu 1 to its call" in message
    assert "mmap_lock" in message


def test_is_starvation_told() -> None:
    """A lock that is given away again and again, and never to who waits."""
    _, machine, (lock,) = locks(1, passed_over=50, look_every=10)

    def waits(cpu: Cpu) -> Steps[None]:
        cpu.probe.lock_wait(lock, cpu, "write")
        yield 10_000 * US

    def takes_again(cpu: Cpu) -> Steps[None]:
        for _ in range(200):
            yield from lock.acquire(cpu)
            yield from lock.release(cpu)

    with pytest.raises(Stuck, match=r"starvation: cpu 0 waits for a \(write\)"):
        run(machine, {0: waits, 1: takes_again})


def test_is_an_operation_without_an_end_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A livelock: a fault that tries again for ever."""
    monkeypatch.setattr(fault, "_handle", tries_again)

    def touches(space: Any, cpu: Cpu) -> Steps[None]:
        yield from space.perform(cpu, Touch((BASE - 1,)))

    message = caught("linux", touches, bounds=Bounds(retries=500), touched=False)
    assert "livelock: cpu 0 has taken" in message


def tries_again(*_: Any, **__: Any) -> Steps[bool]:
    raise FaultRetry(BASE)
    yield


# -- exclusion, by the locks themselves -------------------------------------------------------------------


def test_is_a_release_by_somebody_else_caught() -> None:
    _, machine, (lock,) = locks(1)

    def releases(cpu: Cpu) -> Steps[None]:
        yield US
        yield from lock.release(cpu)

    with pytest.raises(Violation, match="a lock is released by who holds it: cpu 1 releases a"):
        run(machine, {0: takes(lock, lock, after=10 * US), 1: releases})


def test_is_a_lock_that_one_takes_twice_caught() -> None:
    _, machine, (lock,) = locks(1)
    with pytest.raises(Violation, match=r"cpu 0 wants a .* and has it already"):
        run(machine, {0: takes(lock, lock)})


def test_is_a_writer_that_comes_in_beside_a_downgraded_one_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The downgrade forgets to count its reader."""
    downgrade = RwSem._write_downgrade

    def forgets(lock: RwSem, cpu: Cpu) -> Steps[None]:
        yield from downgrade(lock, cpu)
        lock.readers -= 1

    monkeypatch.setattr(RwSem, "_write_downgrade", forgets)
    message = caught("linux", cpus=4)
    assert message.startswith(("a lock excludes: ", "every wait comes"))


# -- readers are counted ----------------------------------------------------------------------------------


def test_is_a_reader_that_signs_over_another_one_caught() -> None:
    """Two locks whose readers on this cpu share the only slot of the table."""
    checks = Checks()
    machine = small_machine(listeners=checks.listeners)
    nodes, table = QueueNodes(machine, "mcs"), VisibleReaders(machine, slots=1, inhibit=0, scan_line=0)
    one, other = (
        BravoLock(table, PhaseFairLock(nodes, machine.line(name), WAITING), number)
        for number, name in enumerate("ab")
    )

    def reads(cpu: Cpu) -> Steps[None]:
        for _ in range(2):  # the first time sets the bias
            for lock in (one, other):
                yield from lock.read_lock(cpu)
            for lock in (other, one):
                yield from lock.read_unlock(cpu)

    run(machine, {0: reads})
    with (
        MUTANTS["bravo-reader-signs-over-another"].applied(),
        pytest.raises(Violation, match=r"a lock counts the readers that it has \(I3\): cpu 0 reads"),
    ):
        run(machine, {0: reads})


def test_is_a_reader_that_is_not_counted_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    read_lock = PhaseFairLock._read_lock

    def forgets(lock: PhaseFairLock, cpu: Cpu) -> Steps[None]:
        yield from read_lock(lock, cpu)
        lock.readers -= 1

    monkeypatch.setattr(PhaseFairLock, "_read_lock", forgets)
    assert caught("rw").startswith("a lock counts the readers that it has (I3): ")
