"""The size of a file (vm/page_cache/mod.rs resize, vm/vmar/rmap.rs unmap).

    ftruncate   size | lock of the reverse map | each shared mapping: cursor, unmap, flush + acks | pages go

A private mapping is not in the reverse map: what it has of the file stays mapped, and behind the end it finds
zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.cortenmm.vmo import Vmo
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import SYSCALL, Errno, Ftruncate

if TYPE_CHECKING:
    from sim.designs.asterinas.kernel import AsterinasKernel


def ftruncate(kernel: AsterinasKernel, cpu: Cpu, asked: Ftruncate) -> Steps[Errno | None]:
    """Cut the file off, or make it longer by a hole."""
    vmo = asked.file
    assert isinstance(vmo, Vmo)
    kernel.machine.entry.syscall(cpu, SYSCALL, kernel.cost.syscall)
    if asked.pages < 0:
        return Errno.EINVAL
    yield from vmo.size_lock.acquire(cpu)
    shorter = asked.pages < vmo.pages
    vmo.pages = asked.pages
    if shorter:
        yield from vmo.mappers_lock.acquire(cpu)
        for space in list(kernel.mapped_by(vmo)):
            for part in space.behind(vmo, asked.pages):
                yield from space.unmap_pages(cpu, part.start, part.stop)
        yield from vmo.decommit(cpu, [index for index in vmo.frames if index >= asked.pages])
        yield from vmo.mappers_lock.release(cpu)
    yield from vmo.size_lock.release(cpu)
    return None
