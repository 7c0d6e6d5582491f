"""The address-space interface: what workloads call and designs implement."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from sim.engine import Steps
from sim.errors import ModelError
from sim.hardware import Cpu, Machine
from sim.mm.page_table import PageTablePage

USER = "user"
SYSCALL = "syscall"
FAULT_ENTRY = "fault entry"
PAGE_TABLE = "page table"
LOCK_PAGE_TABLE = "lock: page table"


class SegmentationFault(ModelError):
    """A thread touched a page that is not mapped: the workload or the design is wrong."""


class AddressSpace(ABC):
    """One process's memory under some design.

    Addresses and lengths are in pages. All operations are generators that run on the calling thread's cpu;
    they enter and leave the kernel themselves.
    """

    root: PageTablePage
    walk_retries: ClassVar[int] = 8

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        clock, kernel = machine.spec.clock, machine.spec.kernel
        self._syscall = kernel.syscall.at(clock)
        self._exception = kernel.exception.at(clock)
        self._user_access = machine.spec.coherence.hit.at(clock)

    @abstractmethod
    def mmap(self, cpu: Cpu, pages: int, at: int | None = None) -> Steps[int]:
        """Map *pages* of private anonymous memory, at *at* (MAP_FIXED) or anywhere. Value: the first page."""

    @abstractmethod
    def munmap(self, cpu: Cpu, at: int, pages: int) -> Steps[None]:
        """Unmap a range."""

    @abstractmethod
    def fault(self, cpu: Cpu, page: int, write: bool) -> Steps[None]:
        """Handle a page fault: make *page* accessible or raise `SegmentationFault`."""

    @abstractmethod
    def activate(self, cpu: Cpu) -> None:
        """The space is loaded on *cpu*: a thread of it begins to run there."""

    def discard(self, cpu: Cpu, at: int, pages: int) -> Steps[None]:
        """Give the pages of a range back; it stays mapped (madvise MADV_DONTNEED)."""
        raise ModelError("this design cannot discard pages")
        yield

    def deactivate(self, cpu: Cpu) -> Steps[None]:
        """The thread on *cpu* ends."""
        return
        yield

    def verify(self, cpus: list[Cpu]) -> None:
        """Check the end state: a frame has one owner, tables fit their place, TLBs agree with the table.

        Raises `ModelError`. A design with lazy flushing widens `_may_be_stale`.
        """
        owners: dict[int, int] = {}
        for page, mapping in self.root.mappings():
            other = owners.setdefault(mapping.frame, page)
            if other != page:
                raise ModelError(f"frame {mapping.frame} is mapped at pages {other:#x} and {page:#x}")
        for table in self.root.tables():
            if table.stray:
                raise ModelError(f"{table!r} is linked but stray")
            if table.level == 1 and any(isinstance(entry, PageTablePage) for entry in table.entries.values()):
                raise ModelError(f"{table!r} is a leaf with children")
        for cpu in cpus:
            if cpu.tlb.stale:
                continue
            for page, translation in cpu.tlb.frames().items():
                mapped, frame = self.root.walk(page), translation.frame
                if (mapped is None or mapped.frame != frame) and not self._may_be_stale(page, frame):
                    raise ModelError(f"{cpu} can still translate page {page:#x} to frame {frame}")

    def _may_be_stale(self, page: int, frame: int) -> bool:
        """Whether TLBs may hold the translation of *page* to *frame*, which the table has no more."""
        return False

    def touch(self, cpu: Cpu, page: int, *, write: bool = True) -> Steps[None]:
        """One user access to *page*: TLB, page walk, page fault, and again.

        A walk fetches the entry's line if another cpu has written it since; the line is near after that, as
        it is after a fault, whose kernel code has just been there.
        """
        tlb, near = cpu.tlb, False
        for _ in range(self.walk_retries):
            entry = tlb.lookup(page)
            if entry is not None and (entry.writable or not write):
                cost = tlb.promote(page)
                break
            mapping = self.root.walk(page)
            if mapping is not None and (mapping.writable or not write):
                line = self.root.walk_line(page)
                if not line.held_by(cpu):
                    yield from line.read(cpu, USER)
                    near, mapping = True, self.root.walk(page)
                    if mapping is None or (write and not mapping.writable):
                        continue
                if near:
                    tlb.walker.near(line)
                cost = tlb.fill(page, mapping.frame, mapping.writable, None if near else line)
                break
            cpu.work(self._exception, FAULT_ENTRY)
            yield from self.fault(cpu, page, write)
            near = True
        else:
            raise ModelError(f"{cpu} faults on page {page:#x} again and again")
        cpu.work(cost + self._user_access, USER)
