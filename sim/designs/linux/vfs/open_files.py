"""The open files of a process: files_struct, its table of descriptors (fs/file.c, fs/file_table.c; 6.13.7).

    open    |= file_lock: the lowest free number =| a struct file, W cred ... the file is put into the table
    close   |= file_lock: out of the table =| W f_ref, W d_lockref of its dentry, W cred

Who looks a descriptor up takes a reference to the file where another thread might close it (__fget_light).
A process that no other cpu runs is taken to have one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sim.designs.linux.vfs.dentries import LOCK_VFS, VFS, Dentry
from sim.engine import Steps
from sim.hardware import CacheLine, Cpu
from sim.sync import spin_lock

if TYPE_CHECKING:
    from sim.designs.linux.kernel import LinuxKernel
    from sim.mm import SwitchedFlush


class OpenFile:
    """struct file: *dentry* opened once, and the line with its count. Processes *share* it after a fork."""

    __slots__ = ("dentry", "f_ref", "users")

    def __init__(self, dentry: Dentry, f_ref: CacheLine) -> None:
        self.dentry = dentry
        self.f_ref = f_ref
        self.users = 1


class OpenFiles:
    """files_struct of a process, with the count of users of its credentials."""

    __slots__ = ("_cred", "_kernel", "_lock", "_table", "_tlb")

    def __init__(self, kernel: LinuxKernel, tlb: SwitchedFlush, cpu: Cpu) -> None:
        """*tlb* is that of the process, and knows on which cpus it runs."""
        machine = kernel.machine
        self._kernel = kernel
        self._tlb = tlb
        self._cred = machine.line("cred", cpu.socket, owner=cpu.id)
        line = machine.line("files_struct", cpu.socket, owner=cpu.id)
        self._lock = spin_lock(kernel.nodes, line, LOCK_VFS, "file_lock")
        self._table: dict[int, OpenFile | None] = {}

    def reserve(self, cpu: Cpu) -> Steps[int]:
        """get_unused_fd_flags: value is the lowest free descriptor."""
        yield from self._lock.acquire(cpu)
        number = next(number for number in range(len(self._table) + 1) if number not in self._table)
        self._table[number] = None
        yield from self._lock.release(cpu)
        return number

    def give_back(self, cpu: Cpu, number: int) -> Steps[None]:
        """put_unused_fd: nothing was opened."""
        yield from self._lock.acquire(cpu)
        del self._table[number]
        yield from self._lock.release(cpu)

    def make(self, cpu: Cpu) -> Steps[CacheLine]:
        """alloc_empty_file: the struct, whose memory this cpu has just freed, and get_cred."""
        yield from self._cred.write(cpu, VFS)
        return self._kernel.machine.line("f_ref", cpu.socket, owner=cpu.id)

    def install(self, number: int, file: OpenFile) -> None:
        """fd_install; *file*'s dentry is held."""
        file.dentry.inode.users += 1
        self._table[number] = file

    def get(self, cpu: Cpu, number: int) -> Steps[OpenFile | None]:
        """fdget: the file that is open as *number*."""
        cpu.work(self._kernel.dentries.cost.fdget, VFS)
        file = self._table.get(number)
        if file is not None:
            file.users += 1
            if not self._alone(cpu):
                yield from file.f_ref.write(cpu, VFS)
        return file

    def put(self, cpu: Cpu, file: OpenFile) -> Steps[None]:
        """fdput."""
        if not self._alone(cpu):
            yield from file.f_ref.write(cpu, VFS)
        yield from self._less(cpu, file)

    def remove(self, cpu: Cpu, number: int) -> Steps[OpenFile | None]:
        """file_close_fd: value is the file that was open as *number*."""
        yield from self._lock.acquire(cpu)
        file = self._table.get(number)
        if file is not None:
            del self._table[number]
        yield from self._lock.release(cpu)
        return file

    def release(self, cpu: Cpu, file: OpenFile) -> Steps[None]:
        """__fput_sync."""
        yield from file.f_ref.write(cpu, VFS)
        yield from self._less(cpu, file)

    def _less(self, cpu: Cpu, file: OpenFile) -> Steps[None]:
        """With the last user the file goes, its hold on the dentry, and the reference to the credentials."""
        file.users -= 1
        if file.users:
            return
        dentries, dentry = self._kernel.dentries, file.dentry
        dentry.inode.users -= 1
        yield from dentries.drop(cpu, dentry)
        yield from dentries.put_inode(cpu, dentry.inode)
        yield from self._cred.write(cpu, VFS)

    def duplicate(self, tlb: SwitchedFlush, cpu: Cpu) -> Steps[OpenFiles]:
        """dup_fd: the child has the same files open, each with a user more."""
        copy = OpenFiles(self._kernel, tlb, cpu)
        for number, file in self._table.items():
            if file is not None:
                yield from file.f_ref.write(cpu, VFS)
                file.users += 1
                copy._table[number] = file
        return copy

    def close_all(self, cpu: Cpu) -> Steps[None]:
        """exit_files."""
        for number in list(self._table):
            file = yield from self.remove(cpu, number)
            if file is not None:
                yield from self.release(cpu, file)

    def open_now(self) -> Iterator[OpenFile]:
        """What its descriptors name."""
        yield from (file for file in self._table.values() if file is not None)

    def belong_to(self, tlb: SwitchedFlush) -> None:
        """A program is executed: the descriptors stay open."""
        self._tlb = tlb

    def _alone(self, cpu: Cpu) -> bool:
        return self._kernel.contexts.alone(cpu, self._tlb)
