"""A drive that is read past the page cache: pread with O_DIRECT (block/fops.c, mm/gup.c; recalled of 5.17).

pread  | syscall, code |- each page: pin -| submit |..... sleep .....| interrupt, wake | unpin
         pin   walk without a lock: present and writable; else mmap_lock R, fault, and again
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.designs.linux.fault import fault_in
from sim.designs.linux.fault_retry import FaultRetry
from sim.engine import Activity, Steps
from sim.engine.costs import at_clock
from sim.hardware import Cpu
from sim.mm import (
    SYSCALL,
    WRITE,
    DirectRead,
    Drive,
    Errno,
    Present,
    beyond_user_memory,
)
from sim.sync import Sleeper

if TYPE_CHECKING:
    from sim.designs.linux.drive_spec import DriveSpec
    from sim.designs.linux.kernel import LinuxKernel
    from sim.designs.linux.mm import LinuxMm

DRIVE: Final = Activity("drive")
"""Activity: what a drive costs its user, and the sleep until it is done."""


class LinuxDrive:
    """The drive of a kernel."""

    __slots__ = ("_cost", "_drive", "_kernel")

    def __init__(self, kernel: LinuxKernel, spec: DriveSpec) -> None:
        self._kernel = kernel
        self._cost = at_clock(spec, kernel.machine.spec.kernel_clock)
        self._drive = Drive(kernel.machine, spec, DRIVE)

    def read_into(self, mm: LinuxMm, cpu: Cpu, pages: range) -> Steps[int | Errno]:
        """blkdev_direct_IO of *pages*. Value: how many; `EFAULT` where one cannot be written."""
        kernel, scheduler = self._kernel, self._kernel.scheduler
        cpu.work(self._cost.call, SYSCALL)
        pinned: list[int] = []
        refused: Errno | None = None
        for page in pages:
            frame = yield from self._pin(mm, cpu, page)
            if isinstance(frame, Errno):
                refused = frame
                break
            pinned.append(frame)
        if refused is None:
            sleeper = Sleeper(cpu, "a read of the drive")
            yield from self._drive.read(cpu, lambda: scheduler.wake_from_interrupt(sleeper), len(pages))
            yield from scheduler.sleep(cpu, sleeper, DRIVE)
        if pinned:
            yield from kernel.lru.release(cpu, pinned)  # bio_release_pages
        return len(pages) if refused is None else refused

    def _pin(self, mm: LinuxMm, cpu: Cpu, page: int) -> Steps[int | Errno]:
        """get_user_pages_fast, for writing: the page is there for as long as the drive writes to it."""
        kernel = self._kernel
        while True:
            cpu.work(self._cost.pin, DRIVE)
            yield from mm.root.walk_line(page).read(cpu, DRIVE)
            entry = mm.root.walk(page)
            if isinstance(entry, Present) and entry.writable:
                frame = entry.frame_of(page)
                yield from kernel.descriptors.write(cpu, frame, activity=DRIVE)  # try_grab_compound_head
                if mm.root.walk(page) is entry:
                    mm.pages.in_use.get(frame)
                    return frame
                continue
            refused = yield from self._fault(mm, cpu, page)
            if refused is not None:
                return refused

    def _fault(self, mm: LinuxMm, cpu: Cpu, page: int) -> Steps[Errno | None]:
        """__gup_longterm_unlocked, get_user_pages_unlocked: the fault of one page, under mmap_lock."""
        yield from mm.mmap_lock.read_lock(cpu)
        vma = yield from mm.tree.find(cpu, page)
        refused: Errno | None = Errno.EFAULT
        if vma is not None and vma.start <= page and vma.rights & WRITE and not vma.special:
            try:
                refused = yield from fault_in(mm, cpu, vma, page, page + 1, write=True)
            except FaultRetry:
                return None
        yield from mm.mmap_lock.read_unlock(cpu)
        return refused


def direct_read(mm: LinuxMm, cpu: Cpu, asked: DirectRead) -> Steps[int | Errno]:
    """pread(2) of the drive."""
    drive = mm.kernel.drive
    mm.machine.entry.syscall(cpu, SYSCALL)
    if drive is None:
        return Errno.ENODEV
    if asked.pages <= 0 or beyond_user_memory(asked.at, asked.pages):
        return Errno.EFAULT
    return (yield from drive.read_into(mm, cpu, range(asked.at, asked.at + asked.pages)))
