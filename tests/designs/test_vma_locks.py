"""Do the locks of VMAs keep faults and writers apart, and does a VMA that is used again fool nobody?"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from kernels import BASE, REFCOUNT_LOCK, RWSEM_LOCK, Process
from machines import NS

from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.vma import Vma
from sim.designs.linux.vma_locks.refcount import VMA_LOCK_OFFSET, VMA_REF_LIMIT, RefcountVmaLock, VmRefcnt
from sim.engine import Activity, Probe, ScheduleName, Steps
from sim.engine.probe import CpuView, LineView, LockView, Mode
from sim.errors import ModelError
from sim.files import load_spec
from sim.hardware import Cpu
from sim.mm import READ, Mmap, Munmap, SegmentationFault

US = 1000 * NS

Changes = dict[str, Any]
both_locks = pytest.mark.parametrize("lock", [RWSEM_LOCK, REFCOUNT_LOCK], ids=["rwsem", "refcount"])
seqcount = {"switches": {"mm_lock_seq": "seqcount"}}


def linux(lock: Changes, cpus: int = 2, **options: Any) -> Process:
    return Process("linux", cpus=cpus, changes=lock, **options)


def only_vma(process: Process) -> Vma:
    (vma,) = process.space.tree
    assert isinstance(vma, Vma)
    return vma


# -- exclusion ------------------------------------------------------------------------------------------


def race(lock: Changes, ties: ScheduleName, seed: int) -> Counter[str]:
    """Two faulting and two writing threads on one VMA; how often each had it. A writer has it alone."""
    process = linux(lock, cpus=4, ties=ties, seed=seed)
    process.do(("mmap", 9, BASE))
    space, vma = process.space, only_vma(process)
    inside: set[int] = set()
    writers: set[int] = set()
    had: Counter[str] = Counter()

    def faults(cpu: Cpu) -> Steps[None]:
        draw = cpu.engine.stream(f"test {cpu.id}").random
        for _ in range(30):
            cpu.work(int(draw() * US), Activity("user"))
            taken = yield from vma.lock.start_read(cpu)
            if cpu.pending:
                yield cpu.take_pending()
            if not taken:
                continue
            inside.add(cpu.id)
            assert not writers, "a fault is in the VMA that a writer has"
            cpu.work(int(draw() * US), Activity("inside"))
            yield cpu.take_pending()
            inside.discard(cpu.id)
            yield from vma.lock.end_read(cpu)
            had["fault"] += 1

    def writes(cpu: Cpu) -> Steps[None]:
        draw = cpu.engine.stream(f"test {cpu.id}").random
        for _ in range(10):
            cpu.work(int(draw() * 3 * US), Activity("user"))
            yield from space.write_lock(cpu)
            yield from vma.lock.start_write(cpu)
            if cpu.pending:
                yield cpu.take_pending()
            assert not inside, "a writer has a VMA that a fault is in"
            assert not writers
            writers.add(cpu.id)
            cpu.work(int(draw() * US), Activity("inside"))
            yield cpu.take_pending()
            writers.discard(cpu.id)
            yield from space.write_unlock(cpu)
            had["write"] += 1

    process.run({0: faults, 1: writes, 2: faults, 3: writes})
    return had


@both_locks
@pytest.mark.parametrize("ties", ["fifo", "shuffle"])
def test_has_a_writer_a_vma_alone(lock: Changes, ties: ScheduleName) -> None:
    had = Counter[str]()
    for seed in range(12):
        had += race(lock, ties, seed)
    assert had["write"] == 12 * 20
    assert had["fault"] > 12 * 10


@pytest.mark.parametrize("ties", ["fifo", "shuffle"])
def test_is_a_writer_caught_that_does_not_wait_for_readers(
    ties: ScheduleName, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant: it announces itself and goes on."""

    def hurries(self: VmRefcnt, cpu: Cpu, target: int) -> Steps[None]:
        return
        yield

    monkeypatch.setattr(VmRefcnt, "wait_for_readers", hurries)
    with pytest.raises(AssertionError, match="a writer has a VMA that a fault is in"):
        test_has_a_writer_a_vma_alone(REFCOUNT_LOCK, ties)


def test_is_a_reader_caught_that_does_not_look_at_the_sequence_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: a writer that has come and gone between the first look and the reference goes unseen."""

    def looks_once(self: RefcountVmaLock, cpu: Cpu) -> Steps[bool]:
        seq = yield from self._mm.seq.read(cpu, Activity("vma"))
        return False if self._mark == seq else (yield from self.refcnt.get(cpu))

    monkeypatch.setattr(RefcountVmaLock, "start_read", looks_once)
    with pytest.raises(AssertionError, match="a fault is in the VMA that a writer has"):
        test_has_a_writer_a_vma_alone(REFCOUNT_LOCK, "fifo")


# -- the reference count --------------------------------------------------------------------------------


def test_does_a_writer_sleep_until_the_last_reader_wakes_it() -> None:
    """While it waits, no reader comes in; the count is that of mm/mmap_lock.c."""
    process = linux(REFCOUNT_LOCK, cpus=4)
    process.do(("mmap", 9, BASE))
    vma = only_vma(process)
    counts: dict[str, int] = {}
    refused: list[bool] = []

    def reads(inside: int) -> Any:
        def body(cpu: Cpu) -> Steps[None]:
            yield from vma.lock.start_read(cpu)
            cpu.work(inside, Activity("inside"))
            yield cpu.take_pending()
            yield from vma.lock.end_read(cpu)

        return body

    def comes_late(cpu: Cpu) -> Steps[None]:
        cpu.work(30 * US, Activity("user"))
        yield cpu.take_pending()
        counts["waiting"] = refcnt(vma).count
        refused.append((yield from vma.lock.start_read(cpu)))
        assert not vma.lock.is_detached

    def writes(cpu: Cpu) -> Steps[None]:
        cpu.work(5 * US, Activity("user"))
        yield from process.space.write_lock(cpu)
        yield from vma.lock.start_write(cpu)
        counts["marked"] = refcnt(vma).count
        assert cpu.now > 60 * US
        yield from process.space.write_unlock(cpu)

    process.run({0: reads(20 * US), 1: writes, 2: reads(60 * US), 3: comes_late})
    assert counts == {"waiting": VMA_LOCK_OFFSET + 3 - 1, "marked": 1}
    assert refused == [False]
    assert process.machine.tally.sleeps == 1  # the first reader to leave wakes nobody


def refcnt(vma: Vma) -> VmRefcnt:
    assert isinstance(vma.lock, RefcountVmaLock)
    return vma.lock.refcnt


def test_is_a_reader_refused_at_the_limit() -> None:
    process = linux(REFCOUNT_LOCK)
    process.do(("mmap", 9, BASE))
    vma = only_vma(process)
    found: list[tuple[bool, bool]] = []

    def body(cpu: Cpu) -> Steps[None]:
        for count in (VMA_REF_LIMIT - 1, VMA_REF_LIMIT, VMA_LOCK_OFFSET, 0):
            refcnt(vma).count = count
            taken = yield from vma.lock.start_read(cpu)
            found.append((taken, vma.lock.is_detached))
        refcnt(vma).count = 1

    process.run({0: body})
    assert found == [(True, False), (False, False), (False, False), (False, True)]


class Transfers(Probe):
    """What cpu 0 fetches of a VMA's lock and of its mm's lines for it."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def line_transfer(
        self, line: LineView, cpu: int, source: int, distance: str, cost: int, exclusive: bool
    ) -> None:
        if cpu == 0 and line.name.startswith(("mm.mm_lock_seq", "mm.vma_writer_wait", "vm")):
            self.seen.append(f"{'W' if exclusive else 'R'} {line.name.removeprefix('mm.').split()[0]}")


def of_lock(lock: Changes, verb: str) -> list[str]:
    """The lines of one verb after another cpu had all of them. What is a RMW of a line at hand counts too."""
    heard = Transfers()
    changes = {**lock, "layout": {"mm_struct": ()}}
    process = linux(changes, listeners=(heard,))
    process.do(("mmap", 9, BASE))
    vma = only_vma(process)

    def takes_all(cpu: Cpu) -> Steps[None]:
        yield from process.space.lines["mm_lock_seq"].write(cpu)
        yield from process.space.lines["vma_writer_wait"].write(cpu)
        yield from vma.lock.start_read(cpu)
        yield from vma.lock.end_read(cpu)

    def body(cpu: Cpu) -> Steps[None]:
        heard.seen.clear()
        if verb == "fault":
            yield from vma.lock.start_read(cpu)
            yield from vma.lock.end_read(cpu)
        else:
            yield from process.space.vma_locks.begin_write(cpu)
            for _ in range(2):  # the second time it is marked
                yield from vma.lock.start_write(cpu)
            yield from process.space.vma_locks.end_write_all(cpu)

    process.run({1: takes_all})
    process.run({0: body})
    return heard.seen


def test_which_lines_does_a_vma_lock_touch() -> None:
    """Both: load and cmpxchg, one RMW back. The rwsem has its own line. A writer of the count also writes
    where it would sleep. The seqcount: a store before all else."""
    rwsem, count = "vma_lock", "vm_area_struct"
    assert of_lock(RWSEM_LOCK, "fault") == ["R mm_lock_seq", f"R {rwsem}", f"W {rwsem}", f"W {rwsem}"]
    assert of_lock(RWSEM_LOCK, "write") == ["R mm_lock_seq", f"W {rwsem}", f"W {rwsem}", "W mm_lock_seq"]
    both = {**RWSEM_LOCK, **seqcount}
    assert of_lock(both, "write") == ["W mm_lock_seq", f"W {rwsem}", f"W {rwsem}"]
    assert of_lock(REFCOUNT_LOCK, "fault") == ["R mm_lock_seq", f"R {count}", f"W {count}", f"W {count}"]
    assert of_lock(REFCOUNT_LOCK, "write") == [
        "W mm_lock_seq", f"R {count}", f"W {count}", "W vma_writer_wait", f"W {count}"
    ]  # fmt: skip


@both_locks
def test_is_the_sequence_odd_in_a_write_section_since_6_14(lock: Changes) -> None:
    process = linux({**lock, **seqcount})
    seq = process.space.vma_locks.seq
    assert seq.value == 0
    process.do(("mmap", 9, BASE), ("munmap", BASE, 3))  # the latter downgrades
    assert seq.value == 4

    def body(cpu: Cpu) -> Steps[None]:
        yield from process.space.write_lock(cpu)
        assert seq.value == 5
        yield from process.space.write_unlock(cpu)

    process.run({0: body})
    old = linux(RWSEM_LOCK)
    old.do(("mmap", 9, BASE), ("munmap", BASE, 3))
    assert old.space.vma_locks.seq.value == 2


# -- VMAs that are used again ---------------------------------------------------------------------------


class References(Probe):
    """How often cpu 1 had a VMA for reading."""

    def __init__(self) -> None:
        self.taken = 0

    def lock_acquired(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        self.taken += cpu.id == 1 and mode == "read" and lock.name.startswith("vm_refcnt")


def look_at_a_freed_vma(delay: int, *, other: bool) -> tuple[bool, int]:
    """A fault of cpu 1 has found the VMA that cpu 0 unmaps and gets again at once: for other addresses of the
    same process, or for the same addresses of an *other* one. Whether it found its page, and its references.
    """
    references = References()
    changes = {**REFCOUNT_LOCK, "costs": {"lock_vma": "3 us"}}  # between finding the VMA and locking it
    process = linux(changes, listeners=(references,))
    space: Any = process.space
    second = process.kernel.new_process(process.cpus[0]) if other else space
    if other:
        process.spaces.append(second)
    process.do(("mmap", 4, BASE), ("mmap", 1, BASE + 512), ("touch", BASE + 512))
    freed = space.tree.peek(BASE)

    def unmaps(cpu: Cpu) -> Steps[None]:
        cpu.work(4 * US, Activity("user"))
        yield from space.perform(cpu, Munmap(BASE, 4))
        yield from second.perform(cpu, Mmap(4, BASE if other else BASE + 100))
        assert second.tree.peek(BASE if other else BASE + 100) is freed

    def faults(cpu: Cpu) -> Steps[None]:
        cpu.work(delay, Activity("user"))
        yield from space.access(cpu, BASE + 2)

    references.taken = 0
    try:
        process.run({0: unmaps, 1: faults})
    except SegmentationFault:
        return False, references.taken
    return True, references.taken


@pytest.mark.parametrize("other", [False, True])
def test_does_a_fault_look_again_at_what_it_has_got(other: bool) -> None:
    """It finds its page before the unmapping, or no VMA; sometimes it has a reference to a wrong one."""
    outcomes = {look_at_a_freed_vma(delay, other=other) for delay in range(0, 6 * US, 50 * NS)}
    assert outcomes >= {(True, 1), (False, 0), (False, 1)}


def test_is_a_fault_caught_that_does_not_look_whose_vma_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant takes any VMA of the right addresses for its own: it maps a page where nothing is mapped."""

    real = LinuxMm.lock_vma_under_rcu

    def trusts(self: Any, cpu: Cpu, page: int) -> Steps[Vma | None]:
        monkeypatch.setattr(Vma, "mm", property(lambda vma: self, lambda vma, mm: None))
        return real(self, cpu, page)

    monkeypatch.setattr(LinuxMm, "lock_vma_under_rcu", trusts)
    with pytest.raises(ModelError, match="nothing is mapped there"):
        test_does_a_fault_look_again_at_what_it_has_got(other=True)


def test_does_a_cpu_get_the_vma_back_that_it_freed_last() -> None:
    process = linux(REFCOUNT_LOCK)
    space = process.space
    process.do(("mmap", 1, BASE), ("mmap", 1, BASE + 2), ("mmap", 1, BASE + 4))
    first, second, third = space.tree
    process.do(("munmap", BASE, 1), ("munmap", BASE + 4, 1), ("mmap", 1, BASE + 8))
    assert list(space.tree) == [second, third]
    assert (third.start, third.end, third.detached, third.anon_vma) == (BASE + 8, BASE + 9, False, None)
    process.do(("mmap", 1, BASE + 20), cpu=1)
    assert first not in list(space.tree)
    process.do(("mmap", 1, BASE + 30), ("touch", BASE + 30), ("munmap", BASE, 40))
    assert list(space.tree) == []


def test_do_merging_and_splitting_keep_the_counts() -> None:
    process = linux(REFCOUNT_LOCK)
    process.do(("mmap", 4, BASE), ("mmap", 4, BASE + 8), ("touch", BASE + 1), ("mmap", 4, BASE + 4))
    assert refcnt(only_vma(process)).count == 1
    process.do(("munmap", BASE + 5, 2), ("discard", BASE, 12), ("mprotect", BASE + 1, 2, READ))
    assert [refcnt(vma).count for vma in process.space.tree] == [1] * 4


def test_is_a_vma_that_is_given_out_with_references_an_error() -> None:
    process = linux(REFCOUNT_LOCK)
    process.do(("mmap", 1, BASE))
    vma = only_vma(process)
    process.do(("munmap", BASE, 1))
    refcnt(vma).count = 1
    with pytest.raises(ModelError, match="has 1 references and is given out again"):
        process.do(("mmap", 1, BASE))


# -- the design -----------------------------------------------------------------------------------------


def test_does_6_15_say_how_it_locks() -> None:
    spec: Any = load_spec("design", "linux-6.15").spec
    assert (spec.vma_lock, spec.switches.mm_lock_seq) == ("refcount", "seqcount")
    assert not spec.switches.lru_drain_on_zap
    assert spec.switches.prefetchw_mmap_lock
    owner = next(group for group in spec.layout.mm_struct if "mmap_lock.owner" in group)
    assert {"vma_writer_wait", "mm_lock_seq"} < {*owner}
