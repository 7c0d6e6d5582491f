"""mmap: a mapping more in the set, and nothing else (vmar_impls/map.rs build, syscall/mmap.rs).

    write lock | room, from the highest mapping down | neighbours alike? one mapping | into the set | unlock

No entry is written and no table made, so no cursor either, unless MAP_FIXED has to unmap what is there.
MAP_POPULATE is taken for no flag.
"""

from __future__ import annotations

from typing import TypeAlias

from sim.designs.asterinas.interval_set import MAPPINGS
from sim.designs.asterinas.mapping import Mapping
from sim.designs.asterinas.vmar import Vmar
from sim.designs.cortenmm.vmo import Vmo
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import Errno, Mmap, MmapFile, MmapShared, beyond_user_memory

Asked: TypeAlias = Mmap | MmapShared | MmapFile


def mmap(mm: Vmar, cpu: Cpu, asked: Asked) -> Steps[int | Errno]:
    """mmap(2)."""
    mm.enter(cpu)
    if asked.pages <= 0 or (isinstance(asked, MmapFile) and asked.offset < 0):
        return Errno.EINVAL
    if asked.at is not None and beyond_user_memory(asked.at, asked.pages):
        return Errno.ENOMEM
    return (yield from mm.change(cpu, _map(mm, cpu, asked)))


def _map(mm: Vmar, cpu: Cpu, asked: Asked) -> Steps[int | Errno]:
    at = asked.at
    if at is None:
        at = yield from mm.inner.room(cpu, asked.pages, mm.room.start, mm.room.stop)
        if at is None:
            return Errno.ENOMEM
    elif asked.replace:
        yield from mm.truncate(cpu, at, at + asked.pages)
    else:
        there = yield from mm.inner.over(cpu, at, at + asked.pages)
        if there:
            return Errno.EEXIST
    yield from add(mm, cpu, _mapping_of(mm, cpu, asked, at))
    return at


def _mapping_of(mm: Vmar, cpu: Cpu, asked: Asked, at: int) -> Mapping:
    end = at + asked.pages
    if isinstance(asked, MmapFile):
        assert isinstance(asked.file, Vmo)
        return Mapping(at, end, asked.rights, asked.shared, asked.file, asked.offset, around=True)
    if isinstance(asked, MmapShared):
        vmo = mm.kernel.vmos.create(cpu, "shared memory", asked.pages, pager=False)
        return Mapping(at, end, asked.rights, shared=True, vmo=vmo)
    return Mapping(at, end, asked.rights)


def add(mm: Vmar, cpu: Cpu, mapping: Mapping) -> Steps[None]:
    """A new *mapping*, where nothing is mapped."""
    cpu.work(mm.costs.mapping, MAPPINGS)
    yield from mm.put_in_joined(cpu, mapping)
