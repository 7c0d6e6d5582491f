"""The address-space interface: what workloads ask of memory and designs implement."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from sim.engine import Steps
from sim.engine.costs import at_clock
from sim.errors import ModelError
from sim.hardware import Cpu, Machine
from sim.mm.entries import Rights, rights_text
from sim.mm.operations import Touch
from sim.mm.page_table import PageTablePage
from sim.mm.performer import Handlers, Performer

USER = "user"
SYSCALL = "syscall"
FAULT_ENTRY = "fault entry"
PAGE_TABLE = "page table"
LOCK_PAGE_TABLE = "lock: page table"


class SegmentationFault(ModelError):
    """A thread touched a page that it may not touch: the workload or the design is wrong."""


class AddressSpace(Performer, ABC):
    """One process's memory under some design.

    Handlers and `fault` are steps that run on the calling thread's cpu; they enter and leave the kernel
    themselves. Pages are page numbers.
    """

    root: PageTablePage
    walk_retries: ClassVar[int] = 8

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        kernel = at_clock(machine.spec.kernel, machine.spec.clock)
        self._syscall: int = kernel.syscall
        self._exception: int = kernel.exception
        self._user_access: int = at_clock(machine.spec.coherence, machine.spec.clock).hit

    @abstractmethod
    def fault(self, cpu: Cpu, page: int, write: bool) -> Steps[None]:
        """Handle a page fault: make *page* accessible or raise `SegmentationFault`."""

    @abstractmethod
    def activate(self, cpu: Cpu) -> None:
        """The space is loaded on *cpu*: a thread of it begins to run there."""

    @abstractmethod
    def status(self, page: int) -> Rights | None:
        """What may be done with *page*, touched or not; None where nothing is mapped."""

    def settle(self) -> None:
        """No thread runs: do what has been put off (lazy flushes, grace periods). Takes no time."""
        return

    def deactivate(self, cpu: Cpu) -> Steps[None]:
        """The thread on *cpu* ends."""
        return
        yield

    def access(self, cpu: Cpu, page: int, *, write: bool = True) -> Steps[None]:
        """One user access to *page*: TLB, page walk, page fault, and again.

        A walk fetches the entry's line if another cpu has written it since; the line is near after that, as
        it is after a fault, whose kernel code has just been there. It sets the accessed bit, and for a write
        the dirty bit: a translation that a read has loaded lets no write through before another walk has set
        that (Intel SDM volume 3A, 4.8).
        """
        tlb, near = cpu.tlb, False
        for _ in range(self.walk_retries):
            translation = tlb.lookup(page)
            if translation is not None and (translation.writable or not write):
                cost = tlb.promote(page)
                break
            entry = self.root.walk(page)
            if entry is not None and entry.allows(write):
                line = self.root.walk_line(page)
                if not line.held_by(cpu):
                    yield from line.read(cpu, USER)
                    near, entry = True, self.root.walk(page)
                    if entry is None or not entry.allows(write):
                        continue
                if near:
                    tlb.walker.near(line)
                entry.accessed = True
                entry.dirty = entry.dirty or write
                cost = tlb.fill(page, entry.frame, entry.dirty and entry.writable, None if near else line)
                break
            cpu.work(self._exception, FAULT_ENTRY)
            yield from self.fault(cpu, page, write)
            near = True
        else:
            raise ModelError(f"{cpu} faults on page {page:#x} again and again")
        cpu.work(cost + self._user_access, USER)

    def _touch(self, cpu: Cpu, operation: Touch) -> Steps[None]:
        for page in operation.pages:
            yield from self.access(cpu, page, write=operation.write)

    operations: ClassVar[Handlers] = {Touch: _touch}

    # -- the end state --------------------------------------------------------------------------------------

    def verify(self, cpus: list[Cpu]) -> None:
        """Check the end state: what `docs/verification` promises of every run.

        No present entry lies outside a mapping or has more rights than it, a frame has one owner, tables fit
        their place and count their entries, and TLBs agree with the table. Raises `ModelError`. A design with
        lazy flushing widens `_may_be_stale`.
        """
        self._verify_entries()
        for table in self.root.tables():
            if table.stray:
                raise ModelError(f"{table!r} is linked but stray")
            if table.level == 1 and any(isinstance(entry, PageTablePage) for entry in table.entries.values()):
                raise ModelError(f"{table!r} is a leaf with children")
            if table.present != table.count():
                raise ModelError(f"{table!r} counts {table.present} entries and has {table.count()}")
        for cpu in cpus:
            if cpu.tlb.stale:
                continue
            for page, translation in cpu.tlb.frames().items():
                there, frame = self.root.walk(page), translation.frame
                fits = there is not None and there.frame == frame
                if there is not None and fits and translation.writable and not there.writable:
                    raise ModelError(f"{cpu} can still write page {page:#x}, which the table forbids")
                if not fits and not self._may_be_stale(page, frame):
                    raise ModelError(f"{cpu} can still translate page {page:#x} to frame {frame}")

    def _verify_entries(self) -> None:
        owners: dict[int, int] = {}
        for page, entry in self.root.present_entries():
            other = owners.setdefault(entry.frame, page)
            if other != page:
                raise ModelError(f"frame {entry.frame} is mapped at pages {other:#x} and {page:#x}")
            allowed = self.status(page)
            if allowed is None:
                raise ModelError(f"page {page:#x} is present ({entry}) and nothing is mapped there")
            if entry.rights & ~allowed:
                raise ModelError(f"page {page:#x} is {entry}, and its mapping allows {rights_text(allowed)}")

    def _may_be_stale(self, page: int, frame: int) -> bool:
        """Whether TLBs may hold the translation of *page* to *frame*, which the table has no more."""
        return False
