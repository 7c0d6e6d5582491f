"""No VMA locks (until 6.3): a fault takes mmap_lock, and a writer has nothing else to take."""

from __future__ import annotations

from typing import ClassVar

from sim.designs.linux.vma_locks.base import Site, VmaLock, VmaLocks
from sim.engine import Steps
from sim.hardware import Cpu


class NoVmaLocks(VmaLocks):
    """What there is to say of a process without VMA locks."""

    __slots__ = ("_lock",)

    serve_faults: ClassVar[bool] = False

    def __init__(self, site: Site) -> None:
        self._lock = _NoVmaLock()

    def new(self, cpu: Cpu, start: int) -> VmaLock:
        return self._lock

    def begin_write(self, cpu: Cpu) -> Steps[None]:
        return
        yield

    def end_write_all(self, cpu: Cpu) -> Steps[None]:
        return
        yield


class _NoVmaLock(VmaLock):
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
