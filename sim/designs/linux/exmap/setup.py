"""Making an exmap: the device is opened and set up, and mapped once (module/driver.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.exmap.context import INTERFACES, LOCK_INTERFACE, Exmap, Interface
from sim.designs.linux.exmap.pool import MemoryPool
from sim.designs.linux.mmap import mmap
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import SYSCALL, Errno, ExmapSetup, MmapExmap, OutOfMemory, tell_filled
from sim.sync import Mutex

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm


def exmap_setup(mm: LinuxMm, cpu: Cpu, asked: ExmapSetup) -> Steps[Errno | None]:
    """EXMAP_IOCTL_SETUP; the pool is taken from the kernel's allocator in bulk. Its pages count as file pages
    of the process from now on (MM_FILEPAGES), mapped or not."""
    mm.machine.entry.syscall(cpu, SYSCALL)
    if asked.frames <= 0 or not 0 < asked.interfaces <= INTERFACES:
        return Errno.EINVAL
    exmap = mm.exmap = mm.exmap or Exmap(mm, cpu)
    if exmap.interfaces:
        return Errno.EBUSY
    kernel = mm.kernel
    if asked.frames > kernel.total_pages:
        return Errno.ENOMEM
    try:
        frames = mm.pages.take(cpu, asked.frames + asked.interfaces)
    except OutOfMemory:
        return Errno.ENOMEM
    for frame in frames:
        mm.pages.node(cpu, frame)
    tell_filled(cpu, frames)
    words = frames[asked.frames :]
    exmap.pool = MemoryPool(kernel, cpu, frames[: asked.frames])
    for number, frame in enumerate(words):
        line = mm.machine.line(f"exmap interface {number}", cpu.socket, owner=cpu.id)
        mutex = Mutex(kernel.osq_nodes, line, kernel.scheduler, LOCK_INTERFACE)
        exmap.interfaces.append(Interface(mutex, frame))
    mm.stat.add_at_once(files=asked.frames)
    exmap.active = True
    return None
    yield


def mmap_exmap(mm: LinuxMm, cpu: Cpu, asked: MmapExmap) -> Steps[int | Errno]:
    """exmap_mmap, called by mmap."""
    exmap = mm.exmap = mm.exmap or Exmap(mm, cpu)
    if exmap.mapped:
        mm.machine.entry.syscall(cpu, SYSCALL)
        return Errno.EBUSY
    start = yield from mmap(mm, cpu, asked)
    if not isinstance(start, Errno):
        exmap.mapped = True
    return start
