"""mprotect (vmar_impls/protect.rs, vm_mapping.rs protect).

    write lock | for each mapping: out of the set, its rest in | cursor: each page without the right to write
               | flush + acks | with neighbours that are alike into the set | unlock

A page may be shared with others, so none is given the right to write: the next write faults and takes it.
The range ends at its first hole. Left out: the accessed and dirty bits go, too.
"""

from __future__ import annotations

from sim.designs.asterinas.interval_set import MAPPINGS
from sim.designs.asterinas.vmar import Vmar
from sim.designs.cortenmm.cursor import Cursor
from sim.designs.cortenmm.mprotect import protect_entries
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import Errno, Mprotect, Rights, beyond_user_memory


def mprotect(mm: Vmar, cpu: Cpu, asked: Mprotect) -> Steps[Errno | None]:
    """mprotect(2)."""
    mm.enter(cpu)
    if asked.pages == 0:
        return None
    if beyond_user_memory(asked.at, asked.pages):
        return Errno.ENOMEM
    return (yield from mm.change(cpu, _protect(mm, cpu, asked.at, asked.at + asked.pages, asked.rights)))


def _protect(mm: Vmar, cpu: Cpu, start: int, end: int, rights: Rights) -> Steps[Errno | None]:
    reached = start
    for found in (yield from mm.inner.over(cpu, start, end)):
        if reached < found.start:
            return Errno.ENOMEM
        reached = found.end
        mapping = mm.inner.at(max(start, found.start))
        assert mapping is not None
        if mapping.rights == rights:
            continue  # or it has become one with the mapping before
        low, high = max(start, mapping.start), min(end, mapping.end)
        cpu.work(mm.costs.mapping, MAPPINGS)
        yield from mm.take(cpu, mapping, low, high)
        yield from mm.transact(cpu, low, high, lambda cursor: _protect_pages(mm, cursor, rights))
        yield from mm.put_in_joined(cpu, mapping.part(low, high)._replace(rights=rights))
        mm.drop(cpu, mapping)
    return Errno.ENOMEM if reached < end else None


def _protect_pages(mm: Vmar, cursor: Cursor, rights: Rights) -> Steps[None]:
    """What is present in the cursor's range has *rights*, and is not to be written; no TLB says otherwise."""
    changed: list[int] = []
    yield from protect_entries(cursor, cursor.covering, cursor.start, cursor.end, rights, changed)
    for page in changed:
        entry = mm.root.walk(page)
        assert entry is not None
        entry.copy_on_write = True
    if changed:
        yield from mm.tlb.flush(cursor.cpu, changed)
    yield from mm.unlock(cursor)
