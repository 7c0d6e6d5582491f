"""No VMA locks (until 6.3): a fault takes mmap_lock, and a writer has nothing else to take."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sim.designs.linux.vma_locks.base import Site, VmaLock, VmaLocks
from sim.engine import Steps
from sim.hardware import Cpu

if TYPE_CHECKING:
    from sim.designs.linux.slab import SlabObject


class NoVmaLocks(VmaLocks):
    """What there is to say of a process without VMA locks."""

    __slots__ = ("_lock",)

    serve_faults: ClassVar[bool] = False

    def __init__(self, site: Site) -> None:
        self._lock = NoVmaLock()

    def new(self, cpu: Cpu, start: int, memory: SlabObject) -> VmaLock:
        return self._lock

    def begin_write(self, cpu: Cpu) -> Steps[None]:
        return
        yield

    def end_write_all(self, cpu: Cpu) -> Steps[None]:
        return
        yield


class NoVmaLock(VmaLock):
    """No fault ever has it, so no writer has to wait."""

    __slots__ = ()

    def start_read(self, cpu: Cpu) -> Steps[bool]:
        return False
        yield

    def end_read(self, cpu: Cpu) -> Steps[None]:
        return
        yield

    def start_write(self, cpu: Cpu) -> Steps[None]:
        return
        yield

    def mark_detached(self, cpu: Cpu) -> Steps[None]:
        return
        yield
