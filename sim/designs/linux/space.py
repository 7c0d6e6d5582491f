"""A Linux process as workloads see it: what it offers, operation by operation."""

from __future__ import annotations

from typing import Any, ClassVar

from sim.designs.linux.brk import brk
from sim.designs.linux.drive import direct_read
from sim.designs.linux.exit import exit_
from sim.designs.linux.exmap import exmap_alloc, exmap_free, exmap_read, exmap_setup, mmap_exmap
from sim.designs.linux.fault import user_fault
from sim.designs.linux.file_calls import close, fstat, open_, read_byte, stat, unlink, write_byte
from sim.designs.linux.fork import exec_, fork, vfork
from sim.designs.linux.madvise import madvise, process_madvise
from sim.designs.linux.maps import read_maps
from sim.designs.linux.mincore import mincore
from sim.designs.linux.mlock import mlock, munlock
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.mmap import mmap
from sim.designs.linux.mprotect import mprotect
from sim.designs.linux.mremap import mremap
from sim.designs.linux.msync import msync
from sim.designs.linux.munmap import munmap
from sim.designs.linux.objects import map_object
from sim.designs.linux.prepopulate import prepopulate, prepopulate_folios
from sim.designs.linux.signals import kill, sigaction, signal
from sim.designs.linux.status import read_status
from sim.designs.linux.userfault import (
    uffd_close,
    uffd_copy,
    uffd_read,
    uffd_register,
    uffd_unregister,
    uffd_wake,
    uffd_zeropage,
)
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    Brk,
    Close,
    DirectRead,
    Exec,
    Exit,
    ExmapAlloc,
    ExmapFree,
    ExmapRead,
    ExmapSetup,
    Fork,
    Fstat,
    Handlers,
    Kill,
    Madvise,
    MapObject,
    Mincore,
    Mlock,
    Mmap,
    MmapExmap,
    MmapFile,
    MmapHuge,
    MmapShared,
    Mprotect,
    Mremap,
    Msync,
    Munlock,
    Munmap,
    Open,
    Operation,
    Prepopulate,
    PrepopulateFolios,
    ProcessMadvise,
    ReadByte,
    ReadMaps,
    ReadStatus,
    Sigaction,
    Signal,
    Stat,
    Touch,
    UffdClose,
    UffdCopy,
    UffdRead,
    UffdRegister,
    UffdUnregister,
    UffdWake,
    UffdZeropage,
    Unlink,
    Vfork,
    WriteByte,
)


class LinuxSpace(LinuxMm):
    """One process."""

    __slots__ = ()

    operations: ClassVar[Handlers] = {
        Mmap: mmap,
        MmapShared: mmap,
        MmapFile: mmap,
        MmapHuge: mmap,
        MapObject: map_object,
        Munmap: munmap,
        Prepopulate: prepopulate,
        PrepopulateFolios: prepopulate_folios,
        Mprotect: mprotect,
        Madvise: madvise,
        ProcessMadvise: process_madvise,
        Brk: brk,
        Mremap: mremap,
        Mlock: mlock,
        Munlock: munlock,
        Mincore: mincore,
        Msync: msync,
        ReadMaps: read_maps,
        ReadStatus: read_status,
        Signal: signal,
        Kill: kill,
        Sigaction: sigaction,
        Open: open_,
        Close: close,
        Unlink: unlink,
        Stat: stat,
        Fstat: fstat,
        ReadByte: read_byte,
        WriteByte: write_byte,
        Fork: fork,
        Vfork: vfork,
        Exec: exec_,
        Exit: exit_,
        UffdRegister: uffd_register,
        UffdUnregister: uffd_unregister,
        UffdRead: uffd_read,
        UffdCopy: uffd_copy,
        UffdZeropage: uffd_zeropage,
        UffdWake: uffd_wake,
        UffdClose: uffd_close,
    }

    def perform(self, cpu: Cpu, operation: Operation) -> Steps[Any]:
        steps = super().perform(cpu, operation)
        return steps if type(operation) is Touch else self.kernel.rcu.in_kernel(cpu, steps)

    def fault(self, cpu: Cpu, page: int, write: bool) -> Steps[None]:
        return self.kernel.rcu.in_kernel(cpu, user_fault(self, cpu, page, write))


class DriveSpace(LinuxSpace):
    """One process of a kernel with a drive."""

    __slots__ = ()

    operations: ClassVar[Handlers] = {DirectRead: direct_read}


class ExmapSpace(LinuxSpace):
    """One process of a kernel with the module exmap."""

    __slots__ = ()

    operations: ClassVar[Handlers] = {
        DirectRead: direct_read,
        ExmapSetup: exmap_setup,
        MmapExmap: mmap_exmap,
        ExmapAlloc: exmap_alloc,
        ExmapFree: exmap_free,
        ExmapRead: exmap_read,
    }
