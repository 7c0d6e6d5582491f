"""The address-space interface: what workloads ask of memory and designs implement."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mypy_extensions import mypyc_attr

from sim.engine import Activity, Steps
from sim.engine.costs import at_clock
from sim.errors import ModelError
from sim.hardware import Cpu, Machine
from sim.mm.end_state import Kept, Mapped, Walk
from sim.mm.entries import Present, Rights
from sim.mm.frame_table import Reference
from sim.mm.operations import Touch
from sim.mm.page_table import PageTablePage
from sim.mm.performer import Handlers, Performer

if TYPE_CHECKING:
    from sim.engine.probe import LockView
    from sim.hardware import Task

USER: Final = Activity("user")
SYSCALL: Final = Activity("syscall")
FAULT_ENTRY: Final = Activity("fault entry")
PAGE_TABLE: Final = Activity("page table")
LOCK_PAGE_TABLE: Final = Activity("lock: page table")


def tell_filled(cpu: Cpu, frames: Sequence[int], sources: Sequence[int] | None = None) -> None:
    """Those who listen hear of *frames* that were given away in bulk, and of what is in them: zeros, or what
    is in the frames of *sources*."""
    if cpu.probe.hears("frame_allocated", "frame_filled"):
        for number, frame in enumerate(frames):
            cpu.probe.frame_allocated(cpu, frame, 0)
            cpu.probe.frame_filled(cpu, frame, None if sources is None else sources[number])


class SegmentationFault(ModelError):
    """A thread touched a page that it may not touch: the workload or the design is wrong."""


class BusError(SegmentationFault):
    """A thread touched a page behind the end of the file that is mapped there (SIGBUS)."""


def _touch(space: AddressSpace, cpu: Cpu, operation: Touch) -> Steps[None]:
    for page in operation.pages:
        yield from space.access(cpu, page, write=operation.write)
        if operation.whole:
            yield from space._stream(cpu, page, operation.write)


def _told_fault(cpu: Cpu, page: int, steps: Steps[None]) -> Steps[None]:
    """The *steps* of a page fault, with those who listen told of its begin and end."""
    cpu.probe.fault_begins(cpu, page)
    yield from steps
    cpu.probe.fault_ends(cpu, page)


@mypyc_attr(allow_interpreted_subclasses=True)
class AddressSpace(Performer, ABC):
    """One process's memory under some design.

    Handlers and `fault` are steps that run on the calling thread's cpu; they enter and leave the kernel
    themselves. Pages are page numbers.

    Most designs have one page table a process, *root*. A design may have several of the same memory, such as
    one a cpu or one a node: then it says which one a cpu's walks go through (`table_of`) and which ones there
    are (`roots`).
    """

    __slots__ = (
        "_user_access",
        "machine",
        "root",
    )

    root: PageTablePage
    walk_retries: ClassVar[int] = 8
    entries_own: ClassVar[bool] = True
    """Whether an entry of a page table is an owner of its frame. Where tables only repeat what something else
    says, that is the owner, and the kernel's `references` have it."""
    guards_tables: bool = False
    """Whether an entry above a table may forbid writes to all that is below (`sharing`)."""
    vvar_vclock: bool = False
    """Whether the kernel maps the pages of virtual clocks apart from the other data of its vdso."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._user_access: int = at_clock(machine.spec.coherence, machine.spec.clock).hit
        machine.engine.probe.space_made(self)

    @abstractmethod
    def fault(self, cpu: Cpu, page: int, write: bool) -> Steps[None]:
        """Handle a page fault: make *page* accessible or raise `SegmentationFault`."""

    @abstractmethod
    def activate(self, cpu: Cpu) -> None:
        """The space is loaded on *cpu*: a thread of it begins to run there."""

    @abstractmethod
    def status(self, page: int) -> Rights | None:
        """What may be done with *page*, touched or not; None where nothing is mapped."""

    @abstractmethod
    def node_of(self, cpu: Cpu, frame: int) -> int:
        """The node of the hardware on which *frame* lies, which *cpu* accesses."""

    def table_of(self, cpu: Cpu) -> PageTablePage:
        """The root of the table that *cpu* walks while it has the space loaded."""
        return self.root

    def roots(self) -> Sequence[PageTablePage]:
        """The roots of all its tables."""
        return (self.root,)

    def present(self, page: int) -> Present | None:
        """What is there of *page*, in whichever table, or in what the tables only repeat."""
        for root in self.roots():
            if (entry := root.walk(page)) is not None:
                return entry
        return None

    def present_entries(self) -> Iterator[tuple[int, Present]]:
        """All that is there, each behind its first page, a page once; in order where there is one table."""
        roots = self.roots()
        if len(roots) == 1:
            return roots[0].present_entries()
        found: dict[int, Present] = {}
        for root in roots:
            for page, entry in root.present_entries():
                found.setdefault(page, entry)
        return iter(found.items())

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

        A TLB is not the cpu's alone: others flush it. So a translation is looked for when its time has come,
        after the work that is pending.
        """
        tlb, near = cpu.tlb, False
        for _ in range(self.walk_retries):
            translation = tlb.lookup(page)
            if translation is not None and (translation.writable or not write):
                if cpu.pending and not near:
                    yield cpu.take_pending()
                    continue
                cost = tlb.promote(page)
                break
            table = self.table_of(cpu)
            entry = table.walk(page)
            if entry is not None and write and self.guards_tables and table.guards(page):
                entry = None
            if entry is not None and entry.allows(write):
                if cpu.pending and not near:
                    yield cpu.take_pending()
                    continue
                line = table.walk_line(page)
                if not line.held_by(cpu):
                    yield from line.read(cpu, USER)
                    near, entry = True, table.walk(page)
                    if entry is None or not entry.allows(write):
                        continue
                    if write and self.guards_tables and table.guards(page):
                        continue
                if near:
                    tlb.walker.near(line)
                entry.accessed = True
                entry.dirty = entry.dirty or write
                writable = entry.dirty and entry.writable
                if writable and self.guards_tables:
                    writable = not table.guards(page)
                cost = tlb.fill(page, entry.frame, writable, None if near else line, entry.level)
                break
            self.machine.entry.exception(cpu, FAULT_ENTRY)
            steps = self.fault(cpu, page, write)
            yield from _told_fault(cpu, page, steps) if cpu.probe.hears_operations else steps
            near = True
        else:
            raise ModelError(f"{cpu} faults on page {page:#x} again and again")
        if cpu.heard:
            known = tlb.peek(page, tlb.asid)
            if known is not None:
                cpu.probe.accessed(self, cpu, page, known.frame, write)
        cpu.work(cost + self._user_access, USER)

    def _stream(self, cpu: Cpu, page: int, write: bool) -> Steps[None]:
        """All bytes of *page*, which has just been accessed, between the core and their memory.

        The page is taken to be in no cache, as the pages of a working set that is larger than the caches are.
        """
        entry = self.table_of(cpu).walk(page)
        if entry is None:
            return  # somebody has unmapped it meanwhile: the next access will fault
        node, memory = self.node_of(cpu, entry.frame_of(page)), self.machine.memory
        yield from (memory.clear_page if write else memory.read_page)(cpu, node, activity=USER)

    operations: ClassVar[Handlers] = {Touch: _touch}

    def shares(self, page: int) -> bool:
        """Whether *page* is of memory that is mapped to be shared: all who have it write to the same."""
        return any(each.shared for each in self.mappings() if each.start <= page < each.end)

    def mappings_guards(self, task: Task, mapping: Any) -> Sequence[LockView] | None:
        """The locks that *task* has for writing when it tells that it changes *mapping*
        (`Probe.mappings_change`); None where it has the range to itself (`Probe.range_locked`)."""
        return None

    @property
    def walks_in_rcu(self) -> bool:
        """Whether kernel code goes through its tables without locks, in read sections that hold up who frees
        them."""
        return False

    # -- the end state, asked when no thread runs (`invariants`) ---------------------------------------------

    @abstractmethod
    def mappings(self) -> Iterator[Mapped]:
        """What is mapped, in order, from what the design itself keeps of it (VMAs, marks)."""

    def counters(self, walk: Walk) -> Iterable[Kept]:
        """The counters that the kernel keeps of the process, each with a recount over *walk*."""
        return ()

    def contradictions(self, walk: Walk, mappings: Sequence[Mapped]) -> Iterable[str]:
        """What in the design's own structures does not fit the rest."""
        return ()

    def asid_left_on(self, cpu: Cpu) -> int | None:
        """Under which number *cpu*, which has loaded another space, has entries of this one that it may use
        when it comes back; None if it has none."""
        return None

    def deferred(self) -> Iterable[Reference]:
        """Frames that wait to be freed; nobody has any after `settle`."""
        return ()

    def may_be_stale(self, page: int, frame: int) -> bool:
        """Whether TLBs may hold a translation of *page* to *frame* which the table has no more, or with a
        right to write that it has not."""
        return False

    def shows_another(self, page: int, frame: int) -> bool:
        """Whether a TLB may have *page*, which is unmapped, at *frame*, though that may be free or another
        page of the process by now: who touches memory that his process has unmapped finds anything there."""
        return False

    def may_be_behind(self, page: int, frame: int) -> bool:
        """Whether one of several tables may still have *page* as *frame*, where it is not that any more:
        nobody who walks that table goes on in user mode before it is mended."""
        return False
