"""The size of a file (artifact, kernel/src/vm/vmo/mod.rs resize; kernel/src/fs/ramfs/fs.rs fallocate).

    ftruncate   size | each space that has mapped the file: a transaction over what is behind | pages go
    fallocate   a page for each hole, and the size; the artifact sets the size alone

The artifact leaves pages behind the end where they are mapped. The paper finds them by its reverse map: a
file knows the spaces that have mapped it, and whoever comes that way goes through a transaction (SOSP'25,
section 4.5). A fault looks at the size inside its own. So either it is over before that of the truncation
begins, which takes its page away, or it finds the file shorter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.cortenmm.mm import CortenMm
from sim.designs.cortenmm.vmo import Vmo
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import SLOTS, SYSCALL, Errno, Fallocate, Ftruncate, OutOfMemory

if TYPE_CHECKING:
    from sim.designs.cortenmm.kernel import CortenKernel


def fallocate(kernel: CortenKernel, cpu: Cpu, asked: Fallocate) -> Steps[Errno | None]:
    """Page after page; what was made goes again if memory runs out (`ENOSPC`)."""
    vmo = asked.file
    assert isinstance(vmo, Vmo)
    kernel.machine.entry.syscall(cpu, SYSCALL, kernel.cost.syscall)
    if asked.at < 0 or asked.pages <= 0:
        return Errno.EINVAL
    end = asked.at + asked.pages
    yield from vmo.size_lock.acquire(cpu)
    before, failed = vmo.pages, False
    made: list[int] = []
    vmo.pages = max(before, end)
    for index in range(asked.at, end) if kernel.spec.source != "artifact" else ():
        try:
            found = yield from vmo.find(cpu, index)
            if found is None:
                yield from vmo.commit(cpu, index)
                made.append(index)
        except OutOfMemory:
            failed = True
            break
    if failed:
        yield from vmo.decommit(cpu, made)
        vmo.pages = before
    yield from vmo.size_lock.release(cpu)
    return Errno.ENOSPC if failed else None


def ftruncate(kernel: CortenKernel, cpu: Cpu, asked: Ftruncate) -> Steps[Errno | None]:
    """Cut the file off, or make it longer by a hole."""
    vmo = asked.file
    assert isinstance(vmo, Vmo)
    kernel.machine.entry.syscall(cpu, SYSCALL, kernel.cost.syscall)
    if asked.pages < 0:
        return Errno.EINVAL
    yield from vmo.size_lock.acquire(cpu)
    if asked.pages < vmo.pages:
        yield from _cut(cpu, vmo, asked.pages)
    vmo.pages = asked.pages
    yield from vmo.size_lock.release(cpu)
    return None


def _cut(cpu: Cpu, vmo: Vmo, pages: int) -> Steps[None]:
    vmo.pages = pages
    yield from vmo.mappers_lock.acquire(cpu)
    spaces = [maps.space for maps in vmo.mappers]
    for space in spaces:
        assert isinstance(space, CortenMm)
        space.users += 1  # it does not end before we are through
    yield from vmo.mappers_lock.release(cpu)
    for space in spaces:
        assert isinstance(space, CortenMm)
        yield from space.maps.lock.read_lock(cpu)
        behind = space.maps.of(vmo, pages)
        yield from space.maps.lock.read_unlock(cpu)
        for part in behind:
            yield from _unmap(space, cpu, part)
        yield from space.put(cpu)
    yield from vmo.decommit(cpu, [index for index in vmo.frames if index >= pages])


def _unmap(mm: CortenMm, cpu: Cpu, part: range) -> Steps[None]:
    """What is present in *part* goes, private copies too; it stays mapped."""
    try:
        yield from _discard(mm, cpu, part)
    except OutOfMemory:  # adv makes tables on its way: what has none has no page
        for start in range(part.start - part.start % SLOTS, part.stop, SLOTS):
            try:
                yield from _discard(mm, cpu, range(max(start, part.start), min(start + SLOTS, part.stop)))
            except OutOfMemory:
                continue


def _discard(mm: CortenMm, cpu: Cpu, part: range) -> Steps[None]:
    """One transaction. Raises `OutOfMemory`, with all as it was."""
    cursor = yield from mm.lock(cpu, part.start, part.stop)
    removed, _ = yield from cursor.discard(locked=True)
    yield from mm.end_discard(cursor, removed)
