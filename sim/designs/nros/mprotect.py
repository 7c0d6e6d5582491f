"""mprotect: rights of mappings, one a call, as `munmap` unmaps them.

The published kernel has this in its address space (AddressSpace::adjust) and in no system call. Here it goes
the way of an unmap: through the log, then a shootdown, whether rights are taken away or given.
"""

from __future__ import annotations

from sim.designs.nros.munmap import cuts
from sim.designs.nros.operations import Adjust
from sim.designs.nros.process import NrosProcess
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import SYSCALL, Errno, Mprotect, beyond_user_memory


def mprotect(mm: NrosProcess, cpu: Cpu, asked: Mprotect) -> Steps[Errno | None]:
    """mprotect(2), by a library. Holes are passed over."""
    if asked.pages == 0:
        return None
    if beyond_user_memory(asked.at, asked.pages):
        return Errno.ENOMEM
    start, end = asked.at, asked.at + asked.pages
    if cuts(mm, start, end):
        return Errno.EINVAL
    for page, mapping in mm.mapped(start, end):
        if mapping.rights != asked.rights:
            yield from _adjust(mm, cpu, Adjust(page, asked.rights))
    return None


def _adjust(mm: NrosProcess, cpu: Cpu, asked: Adjust) -> Steps[None]:
    yield from mm.enter(cpu)
    cpu.work(mm.cost.call, SYSCALL)
    answer = yield from mm.replica_of(cpu).execute(cpu, asked)
    if answer.mapping is not None:
        runner = mm.kernel.thread_runner(cpu)
        yield from mm.kernel.shootdowns.perform(runner, mm, answer.page, answer.mapping, gone=False)
    mm.leave(cpu)
