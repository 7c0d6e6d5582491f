"""open, close, stat, fstat, unlink, and read and write of a byte (fs/open.c, fs/stat.c, fs/read_write.c,
drivers/char/mem.c; 6.13.7).

    open    getname | file_lock: a descriptor | a struct file | walk [| create] | W d_lockref | install
    stat    getname | walk | W d_lockref | R inode, copy | W d_lockref
    read    fdget | checks | the file's own code | fdput
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.vfs import VFS, OpenFile, OpenFiles
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    NULL_DEVICE,
    SYSCALL,
    ZERO_DEVICE,
    Close,
    Errno,
    Fstat,
    Open,
    ReadByte,
    Stat,
    Unlink,
    WriteByte,
)

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vfs import Dentries, Dentry


def _files(mm: LinuxMm, cpu: Cpu) -> OpenFiles:
    if mm.files is None:
        mm.files = OpenFiles(mm.kernel, mm.tlb, cpu)
    return mm.files


def _opened(mm: LinuxMm, cpu: Cpu, descriptor: int) -> Steps[OpenFile | None]:
    """Enter the kernel, and fdget."""
    files = _files(mm, cpu)
    mm.machine.entry.syscall(cpu, SYSCALL)
    return files.get(cpu, descriptor)


def open_(mm: LinuxMm, cpu: Cpu, asked: Open) -> Steps[int | Errno]:
    """do_sys_openat2."""
    dentries, files = mm.kernel.dentries, _files(mm, cpu)
    mm.machine.entry.syscall(cpu, SYSCALL)
    cpu.work(dentries.cost.getname, VFS)
    number = yield from files.reserve(cpu)
    cpu.work(dentries.cost.open, VFS)
    f_ref = yield from files.make(cpu)
    opened = yield from _find_to_open(dentries, cpu, asked)
    if isinstance(opened, Errno):
        yield from files.give_back(cpu, number)
        return opened
    files.install(number, OpenFile(opened, f_ref))
    return number


def _find_to_open(dentries: Dentries, cpu: Cpu, asked: Open) -> Steps[Dentry | Errno]:
    """path_openat: the dentry, held. One that somebody removes meanwhile is looked for once more."""
    while True:
        walked = yield from dentries.walk(cpu, asked.path)
        if isinstance(walked, Errno):
            return walked
        found = walked.found
        if found is None and asked.create:
            found = yield from dentries.create(cpu, walked.directory, walked.name)
        if found is None:
            return Errno.ENOENT
        if asked.create and found.kind == "directory":
            return Errno.EISDIR
        yield from dentries.hold(cpu, found)
        if found.inode.named:
            return found


def close(mm: LinuxMm, cpu: Cpu, asked: Close) -> Steps[Errno | None]:
    """close(2), which frees the file at once."""
    files = _files(mm, cpu)
    mm.machine.entry.syscall(cpu, SYSCALL)
    file = yield from files.remove(cpu, asked.descriptor)
    if file is None:
        return Errno.EBADF
    cpu.work(mm.kernel.dentries.cost.close, VFS)
    yield from files.release(cpu, file)
    return None


def stat(mm: LinuxMm, cpu: Cpu, asked: Stat) -> Steps[Errno | None]:
    """vfs_statx."""
    dentries = mm.kernel.dentries
    mm.machine.entry.syscall(cpu, SYSCALL)
    cpu.work(dentries.cost.getname, VFS)
    walked = yield from dentries.walk(cpu, asked.path)
    if isinstance(walked, Errno):
        return walked
    found = walked.found
    if found is None:
        return Errno.ENOENT
    yield from dentries.hold(cpu, found)  # complete_walk
    yield from _getattr(mm, cpu, found)
    yield from dentries.drop(cpu, found)  # path_put
    return None


def fstat(mm: LinuxMm, cpu: Cpu, asked: Fstat) -> Steps[Errno | None]:
    """vfs_fstat."""
    file = yield from _opened(mm, cpu, asked.descriptor)
    if file is None:
        return Errno.EBADF
    yield from _getattr(mm, cpu, file.dentry)
    yield from _files(mm, cpu).put(cpu, file)
    return None


def _getattr(mm: LinuxMm, cpu: Cpu, dentry: Dentry) -> Steps[None]:
    cpu.work(mm.kernel.dentries.cost.getattr, VFS)
    yield from dentry.inode.line.read(cpu, VFS)


def unlink(mm: LinuxMm, cpu: Cpu, asked: Unlink) -> Steps[Errno | None]:
    """do_unlinkat."""
    dentries = mm.kernel.dentries
    mm.machine.entry.syscall(cpu, SYSCALL)
    cpu.work(dentries.cost.getname, VFS)
    walked = yield from dentries.walk(cpu, asked.path)
    if isinstance(walked, Errno):
        return walked
    return (yield from dentries.unlink(cpu, walked.directory, walked.name))


def read_byte(mm: LinuxMm, cpu: Cpu, asked: ReadByte) -> Steps[int | Errno]:
    """ksys_read."""
    file = yield from _opened(mm, cpu, asked.descriptor)
    if file is None:
        return Errno.EBADF
    cost = mm.kernel.dentries.cost
    cpu.work(cost.rw_checks, VFS)
    read = int(file.dentry.path == ZERO_DEVICE)
    if read:
        cpu.work(cost.read_zero, VFS)
    yield from _files(mm, cpu).put(cpu, file)
    return read


def write_byte(mm: LinuxMm, cpu: Cpu, asked: WriteByte) -> Steps[int | Errno]:
    """ksys_write."""
    file = yield from _opened(mm, cpu, asked.descriptor)
    if file is None:
        return Errno.EBADF
    cost = mm.kernel.dentries.cost
    cpu.work(cost.rw_checks, VFS)
    taken = file.dentry.path in (NULL_DEVICE, ZERO_DEVICE)
    if taken:
        cpu.work(cost.write_null, VFS)
    yield from _files(mm, cpu).put(cpu, file)
    return 1 if taken else Errno.EINVAL


# -- processes that come and go ------------------------------------------------------------------------------


def copy_files(mm: LinuxMm, child: LinuxMm, cpu: Cpu) -> Steps[None]:
    """copy_files of fork."""
    if mm.files is not None:
        child.files = yield from mm.files.duplicate(child.tlb, cpu)


def keep_files(mm: LinuxMm, fresh: LinuxMm, cpu: Cpu) -> Steps[None]:
    """A process executes a program, with what is open; where its parent has *mm* (vfork), with a copy."""
    if mm.users > 1:
        yield from copy_files(mm, fresh, cpu)
    elif mm.files is not None:
        fresh.files, mm.files = mm.files, None
        fresh.files.belong_to(fresh.tlb)


def exit_files(mm: LinuxMm, cpu: Cpu) -> Steps[None]:
    """do_exit: all is closed."""
    if mm.files is not None:
        yield from mm.files.close_all(cpu)
