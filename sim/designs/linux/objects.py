"""Memory as an object, whatever a program gets here that asks for it (`objects` of the design's file).

shm         shm_open, ftruncate | mmap(MAP_SHARED), perhaps MAP_POPULATE | shm_unlink
anonymous   -                   | mmap(MAP_SHARED | MAP_ANONYMOUS), once | -
morsel      the driver makes one | maps it                               | takes it apart
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.mmap import mmap
from sim.designs.linux.morsel_calls import create_morsel, destroy_morsel
from sim.designs.linux.morsel_maps import map_morsel
from sim.designs.linux.page_cache import Inode
from sim.designs.linux.truncate import let_go
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    SYSCALL,
    CreateMorsel,
    CreateObject,
    DestroyMorsel,
    DestroyObject,
    Errno,
    File,
    MapMorsel,
    MapObject,
    MmapFile,
    MmapShared,
    morsel_pages,
    order_for,
    order_of,
)

if TYPE_CHECKING:
    from sim.designs.linux.kernel import LinuxKernel
    from sim.designs.linux.mm import LinuxMm


class MorselFile(File):
    """What stands for a morsel: its ID."""

    __slots__ = ("id",)

    def __init__(self, name: str, pages: int, morsel: int) -> None:
        super().__init__(name, pages)
        self.id = morsel

    def span(self, pages: int) -> int:
        order = order_of(self.id)
        assert order is not None
        return morsel_pages(order)


class UnnamedMemory(File):
    """What stands for shared anonymous memory: nothing, until it is mapped. Nobody else can find it then."""

    __slots__ = ("is_mapped",)

    def __init__(self, name: str, pages: int) -> None:
        super().__init__(name, pages)
        self.is_mapped = False


def create_object(kernel: LinuxKernel, cpu: Cpu, asked: CreateObject) -> Steps[File | Errno]:
    """Make it, with nothing in it."""
    kind = kernel.spec.objects.kind
    if kind == "morsel":
        made = yield from create_morsel(kernel, cpu, CreateMorsel(order_for(asked.pages)))
        return made if isinstance(made, Errno) else MorselFile(asked.title, asked.pages, made)
    if kind == "anonymous":
        return UnnamedMemory(asked.title, asked.pages)
    kernel.machine.entry.syscall(cpu, SYSCALL)  # shm_open
    kernel.machine.entry.syscall(cpu, SYSCALL)  # ftruncate of a file without pages
    return kernel.page_cache.create(cpu, asked.title, asked.pages)


def map_object(mm: LinuxMm, cpu: Cpu, asked: MapObject) -> Steps[int | Errno]:
    """Map it: a morsel as a whole, however many pages are asked for."""
    file, populate = asked.file, mm.kernel.spec.objects.populate
    if isinstance(file, MorselFile):
        return (yield from map_morsel(mm, cpu, MapMorsel(file.id, asked.at, asked.rights)))
    if isinstance(file, UnnamedMemory):
        if file.is_mapped:
            return Errno.EBUSY
        file.is_mapped = True
        return (yield from mmap(mm, cpu, MmapShared(asked.pages, asked.at, asked.rights, populate=populate)))
    whole = MmapFile(file, asked.pages, 0, True, asked.at, asked.rights, populate=populate)
    return (yield from mmap(mm, cpu, whole))


def destroy_object(kernel: LinuxKernel, cpu: Cpu, asked: DestroyObject) -> Steps[Errno | None]:
    """It has no name any more, and goes with its last mapping; a morsel is mapped nowhere."""
    file = asked.file
    if isinstance(file, MorselFile):
        return (yield from destroy_morsel(kernel, cpu, DestroyMorsel(file.id)))
    if isinstance(file, Inode):
        kernel.machine.entry.syscall(cpu, SYSCALL)
        file.kept = False
        yield from let_go(kernel, cpu, file)
    return None
