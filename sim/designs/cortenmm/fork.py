"""fork, vfork and exec as transactions (artifact, kernel/src/vm/vmar/mod.rs new_fork_root and cow_copy_pt).

    child's cursor   |---------------- all of user memory, nobody knows it yet ----------------|
    parent's cursor   |--------------- all of user memory: every table's lock ----------------|
                       for each entry: take the right to write, share, copy | flush + acks

The parent's threads neither fault nor map meanwhile: one transaction has it all, which is what this costs
(the pull request that brought the protocol to Asterinas says 20 % of a fork). Marks are copied at their
level. Memory that is private is shared until one of the two writes to it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sim.designs.cortenmm.cursor import Cursor
from sim.designs.cortenmm.marks import Moving, beside
from sim.designs.cortenmm.metadata import add_array
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    PAGE_TABLE,
    PTES_PER_LINE,
    SLOTS,
    SYSCALL,
    USER_PAGES,
    AddressSpace,
    Errno,
    Exec,
    Fork,
    OutOfMemory,
    PageTablePage,
    Present,
    PresentRun,
    Status,
    Vfork,
)

if TYPE_CHECKING:
    from sim.designs.cortenmm.mm import CortenMm
    from sim.designs.cortenmm.spec import Costs
    from sim.engine.costs import AtClock


class OnTheWay(Exception):
    """A fork has met pages that an mremap has taken out of one place and not yet put in another."""


def fork(mm: CortenMm, cpu: Cpu, asked: Fork) -> Steps[AddressSpace | Errno]:
    """Value: the child, or `ENOMEM` with nothing left of it.

    Where an mremap has pages on their way the child is given up, and the fork begins again: a child has them
    at the one place or at the other.
    """
    mm.enter(cpu)
    cpu.work(mm.cost.fork, SYSCALL)
    while True:
        try:
            return (yield from _fork(mm, cpu))
        except OnTheWay:
            continue


def _fork(mm: CortenMm, cpu: Cpu) -> Steps[AddressSpace | Errno]:
    """Raises `OnTheWay`, with nothing left of the child."""
    child = mm.kernel.new_process(cpu)
    child.brk = mm.brk
    if mm.kernel.swap is not None and mm.family is not None:
        yield from mm.prefill(cpu)  # as no page may be taken away under the first of the two locks
        yield from mm.kernel.swap.leave(cpu, child)
        yield from mm.kernel.swap.join(cpu, child, mm.family)
    target = yield from child.lock(cpu, 0, USER_PAGES)
    source = yield from mm.lock(cpu, 0, USER_PAGES)
    failed: OutOfMemory | OnTheWay | None = None
    yield from mm.maps.lock.read_lock(cpu)
    child.maps.copy(mm.maps)
    for mapping in list(mm.maps.left):
        yield from child.maps.enter(cpu, mapping.vmo)
    try:
        yield from _copy(source, target, mm.root, child.root)
    except (OutOfMemory, OnTheWay) as error:
        failed = error
    yield from mm.tlb.flush(cpu, range(0), whole=True)
    yield from mm.maps.lock.read_unlock(cpu)
    yield from mm.unlock(source)
    yield from child.unlock(target)
    if failed is None:
        child.va.copy(mm.va)  # after all that is mapped: what it gives away is mapped nowhere
        return child
    yield from child.put(cpu)
    if isinstance(failed, OnTheWay):
        raise failed
    return Errno.ENOMEM


def vfork(mm: CortenMm, cpu: Cpu, asked: Vfork) -> Steps[AddressSpace]:
    """Nothing is copied: the space has one user more."""
    mm.enter(cpu)
    cpu.work(mm.cost.fork, SYSCALL)
    mm.users += 1
    return mm
    yield


def exec_(mm: CortenMm, cpu: Cpu, asked: Exec) -> Steps[AddressSpace]:
    """A new space, which *cpu* loads, and the old one goes with all that is in it, unless others use it.

    Value: the new space.
    """
    mm.enter(cpu)
    cpu.work(mm.cost.execve, SYSCALL)
    fresh = mm.kernel.new_process(cpu)
    yield from mm.kernel.contexts.switch(cpu, fresh.tlb)
    yield from mm.put(cpu)
    return fresh


def _copy(source: Cursor, target: Cursor, table: PageTablePage, copy: PageTablePage) -> Steps[None]:
    """cow_copy_pt: what is in *table* is in *copy*, too, which has an array if *table* has one. Raises
    `OutOfMemory`."""
    if table.array is not None and copy.array is None:
        yield from add_array(target.space, target.cpu, copy)
    if table.level == 1:
        yield from _copy_leaf(source, target, table, copy)
        return
    cpu, cost = source.cpu, source.space.cost
    for slot in range(SLOTS):
        child = table.child(slot)
        if child is not None:
            cpu.work(cost.walk_level, PAGE_TABLE)
            yield from table.line(slot).read(cpu, PAGE_TABLE)
            below = yield from target.push_down(copy, slot, child.base)
            yield from _copy(source, target, child, below)
        elif isinstance(status := table.get(slot), Status):
            cpu.work(_per_mark(cost), PAGE_TABLE)
            its = _inherited(source, status)
            yield from target.store(copy, slot, its)
            copy.set(slot, its)


def _copy_leaf(source: Cursor, target: Cursor, table: PageTablePage, copy: PageTablePage) -> Steps[None]:
    """The same of a level-1 table; entries side by side on a line fetch it once."""
    cpu, cost = source.cpu, source.space.cost
    frames = source.space.kernel.frames
    if copy_run(source, table, copy):
        return
    for first in range(0, SLOTS, PTES_PER_LINE):
        entries = {slot: table.get(slot) for slot in range(first, first + PTES_PER_LINE)}
        if all(entry is None for entry in entries.values()):
            continue
        present = {slot: entry for slot, entry in entries.items() if isinstance(entry, Present)}
        marks = {slot: entry for slot, entry in entries.items() if isinstance(entry, Status)}
        private = [entry for slot, entry in present.items() if not _is_shared(table, slot)]
        if any(not entry.copy_on_write for entry in private):
            yield from source.store_all(table, present)  # protect_next
            for entry in private:
                entry.copy_on_write = True
        else:
            yield from source.load_all(table, [*present, *marks])
        besides = {slot: _kept(table, slot) for slot in present}
        statuses = [slot for slot, was in besides.items() if was is not None]
        yield from target.store_all(copy, {**present, **marks}, statuses=statuses)
        cpu.work(len(present) * _per_page(cost) + len(marks) * _per_mark(cost), PAGE_TABLE)
        for slot, mark in marks.items():
            copy.set(slot, _inherited(source, mark))
            if mark.slot is not None:
                assert source.space.kernel.swap is not None
                yield from source.space.kernel.swap.slots.count(cpu, mark.slot, 1)
        for slot, entry in present.items():
            yield from frames.share(cpu, entry.frame)
            its = Present(entry.frame, entry.rights, copy_on_write=entry.copy_on_write, dirty=entry.dirty)
            copy.set(slot, its)
            if (was := besides[slot]) is not None:
                copy.metadata[slot] = was


def copy_run(source: Cursor, table: PageTablePage, copy: PageTablePage) -> bool:
    """The same in one step, of a table that was filled in bulk and that nobody else has used: the end state
    and the work are those of its 512 entries. Value: whether it is such a table."""
    run, cpu, machine = table.run, source.cpu, source.space.machine
    if source.space.protocol.versioned:
        return False
    if run is None or not run.is_whole() or table.written_alone(0, SLOTS, cpu) < SLOTS:
        return False
    run.share()
    source.space.kernel.frames.share_run(cpu, run.frames(0, SLOTS))
    cpu.work(SLOTS * _per_page(source.space.cost), PAGE_TABLE)
    cpu.stall(2 * SLOTS // PTES_PER_LINE * machine.fabric.hit, PAGE_TABLE)
    copy.fill_with(PresentRun(run.frame, run.rights, copy_on_write=True, accessed=False), cpu)
    return True


def _inherited(source: Cursor, mark: Status) -> Status:
    """The child's mark. Raises `OnTheWay` where the parent is just moving what is meant."""
    if isinstance(mark.backing, Moving):
        raise OnTheWay
    return _unlocked(mark)


def _kept(table: PageTablePage, slot: int) -> Status | None:
    """What the child keeps beside the present page in *slot*."""
    was = table.metadata.get(slot)
    return None if was is None else beside(_unlocked(was))


def _unlocked(mark: Status) -> Status:
    """A child's memory is not locked."""
    return replace(mark, locked=False, on_fault=False) if mark.locked else mark


def _per_page(cost: AtClock[Costs]) -> int:
    """Look at a present entry, take the right to write, map it in the child."""
    return int(cost.query + cost.protect + cost.map)


def _per_mark(cost: AtClock[Costs]) -> int:
    """The same of a mark."""
    return int(cost.query + cost.protect + cost.mark)


def _is_shared(table: PageTablePage, slot: int) -> bool:
    """Whether the present page in *slot* is shared memory, which a fork leaves to both."""
    was = table.metadata.get(slot)
    return was is not None and was.shared
