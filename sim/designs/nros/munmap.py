"""munmap and what other operations need of it (syscall.rs, unmap_generic).

NrOS unmaps one mapping a call, and always the whole of it: a frame of 4 KiB or of 2 MiB. So user code unmaps
a range mapping by mapping. What would cut a large frame it cannot ask for (`EINVAL`).

    for each mapping   |- enter | log: unmap, own replica | shootdown | give the frame back -|
"""

from __future__ import annotations

from sim.designs.nros.operations import Unmap
from sim.designs.nros.process import NrosProcess
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import SYSCALL, Errno, Munmap, beyond_user_memory


def munmap(mm: NrosProcess, cpu: Cpu, asked: Munmap) -> Steps[Errno | None]:
    """munmap(2), by a library."""
    if asked.pages <= 0 or beyond_user_memory(asked.at, asked.pages):
        return Errno.EINVAL
    start, end = asked.at, asked.at + asked.pages
    if cuts(mm, start, end):
        return Errno.EINVAL
    if not mm.mapped(start, end):
        yield from unmap_one(mm, cpu, start)
    yield from unmap_all(mm, cpu, start, end)
    return None


def cuts(mm: NrosProcess, start: int, end: int) -> bool:
    """Whether a mapping lies only partly in [*start*, *end*)."""
    return any(page < start or page + each.pages > end for page, each in mm.mapped(start, end))


def unmap_all(mm: NrosProcess, cpu: Cpu, start: int, end: int) -> Steps[None]:
    """All mappings of [*start*, *end*)."""
    for page, _ in mm.mapped(start, end):
        yield from unmap_one(mm, cpu, page)


def unmap_one(mm: NrosProcess, cpu: Cpu, page: int) -> Steps[None]:
    """The mapping in which *page* lies, if there is one."""
    kernel = mm.kernel
    runner = kernel.thread_runner(cpu)
    yield from mm.enter(cpu)
    cpu.work(mm.cost.call, SYSCALL)
    answer = yield from mm.replica_of(cpu).execute(cpu, Unmap(page))
    if answer.mapping is not None:
        yield from kernel.shootdowns.perform(runner, mm, answer.page, answer.mapping, gone=True)
    mm.leave(cpu)
