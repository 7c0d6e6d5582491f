"""munmap (vmar_impls/unmap.rs remove_mapping, syscall/munmap.rs).

    write lock | for each mapping: out of the set, its rest in | cursor: unmap | flush + acks | unlock

The interrupts of the flush are waited for under the Vmar's lock.
"""

from __future__ import annotations

from sim.designs.asterinas.vmar import Vmar
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import Errno, Munmap, beyond_user_memory


def munmap(mm: Vmar, cpu: Cpu, asked: Munmap) -> Steps[Errno | None]:
    """munmap(2)."""
    mm.enter(cpu)
    if asked.pages <= 0 or beyond_user_memory(asked.at, asked.pages):
        return Errno.EINVAL
    return (yield from mm.change(cpu, mm.truncate(cpu, asked.at, asked.at + asked.pages)))
