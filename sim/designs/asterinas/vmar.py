"""What the operations on an address space of Asterinas share: the Vmar, its lock, and cursors below it.

    Vmar   [ RwMutex | set of mappings ]   what is mapped
    below  the page table under adv's cursor, without marks: what is present

Who changes what is mapped has the lock for writing, with the transactions and flushes that follow from it;
a fault, a fork, madvise and msync have it for reading. Frames and tables that are unmapped are freed after a
grace period, which waits for a context switch of every cpu.

Source: Asterinas 0.18.1 (60494858), kernel/core/src/vm/vmar/vmar_impls/mod.rs, ostd/src/mm/vm_space.rs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from sim.designs.asterinas.interval_set import MAPPINGS, IntervalSet
from sim.designs.asterinas.mapping import Mapping
from sim.designs.asterinas.protocol import VmarProtocol
from sim.designs.cortenmm.mm import CortenMm
from sim.designs.cortenmm.va_alloc import FIRST_PAGE
from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.mm import (
    SLOTS,
    SYSCALL,
    USER_PAGES,
    Alike,
    Errno,
    Mapped,
    OutOfMemory,
    Piece,
    Reference,
    Rights,
    SegmentationFault,
    Walk,
    pages_of,
)
from sim.sync import WordRwMutex

if TYPE_CHECKING:
    from sim.designs.asterinas.kernel import AsterinasKernel
    from sim.designs.cortenmm.cursor import Cursor
    from sim.designs.cortenmm.vmo import Vmo

T = TypeVar("T")

LOCK_VMAR: Final = Activity("lock: vmar")
LOCK_RMAP: Final = Activity("lock: reverse map")

HIGH_LIMIT: Final = USER_PAGES - 2048 - 2048
"""Where the search for room begins: below a stack of 8 MiB and as much again (alloc_free_region)."""


class FreePages:
    """Frees what was unmapped after a grace period."""

    __slots__ = ("_removed", "_space")

    def __init__(self, space: Vmar, removed: list[Piece]) -> None:
        self._space = space
        self._removed = removed

    def __call__(self, cpu: Cpu) -> int:
        self._space.free_removed(cpu, self._removed, [])
        return 0  # charged as it was done

    def references(self) -> Iterator[Reference]:
        """The frames that wait."""
        for piece in self._removed:
            if isinstance(piece, Alike):
                yield Reference(piece.frames.start, "a grace period for page", piece.page, len(piece.frames))
            else:
                yield Reference(piece[1].frame, "a grace period for page", piece[0])


class Vmar(CortenMm):
    """The state of one process. *vmar_lock* guards *inner*, its mappings; *costs* are of the second level.

    *kept* are parts that stay mapped while a change has them out of the set for a moment, for who looks
    without the lock.
    """

    __slots__ = ("asterinas", "costs", "inner", "kept", "rules", "vmar_lock")

    room: ClassVar[range] = range(FIRST_PAGE, HIGH_LIMIT)
    """Where mappings without an address go."""

    def __init__(self, kernel: AsterinasKernel, cpu: Cpu) -> None:
        super().__init__(kernel, cpu)
        machine = kernel.machine
        self.asterinas = kernel
        self.rules = VmarProtocol(self)
        self.protocol = self.rules
        self.root.lock = self.protocol.make_lock(self.root)
        line = machine.line("vmar", cpu.socket, owner=cpu.id)
        self.vmar_lock = WordRwMutex(line, kernel.scheduler, LOCK_VMAR)
        self.costs = kernel.vmar_cost
        self.kept: list[Mapping] = []
        self.inner = IntervalSet(machine, cpu, self.costs, kernel.footprint)

    def enter(self, cpu: Cpu) -> None:
        """Enter the kernel for a system call; there are no lazy flushes to catch up with."""
        self.machine.entry.syscall(cpu, SYSCALL, self.cost.syscall)

    def prefill(self, cpu: Cpu) -> Steps[None]:
        """There is no pool of zeroed pages: a table is allocated and zeroed inside the transaction."""
        return
        yield

    # -- the end state --------------------------------------------------------------------------------------

    def status(self, page: int) -> Rights | None:
        mapping = self._mapping_of(page)
        return None if mapping is None else mapping.rights

    def shares(self, page: int) -> bool:
        mapping = self._mapping_of(page)
        return mapping is not None and mapping.shared

    def _mapping_of(self, page: int) -> Mapping | None:
        mapping = self.inner.at(page)
        return mapping or next((each for each in self.kept if each.start <= page < each.end), None)

    def mappings(self) -> Iterator[Mapped]:
        for mapping in self.inner:
            yield Mapped(mapping.start, mapping.end, mapping.rights, mapping.shared)

    def contradictions(self, walk: Walk, mappings: Sequence[Mapped]) -> Iterator[str]:
        """The set is a tree, and no two mappings side by side are one."""
        yield from self.inner.contradictions()
        before: Mapping | None = None
        for mapping in self.inner:
            if before is not None and before.joins(mapping):
                yield f"the mappings before and behind page {mapping.start:#x} are one"
            before = mapping

    # -- parts, under the lock ------------------------------------------------------------------------------

    def transact(self, cpu: Cpu, start: int, end: int, body: Callable[[Cursor], Steps[None]]) -> Steps[None]:
        """Do *body* in one transaction over what is present in [*start*, *end*).

        adv makes tables on its way: where there is no memory for one, there is a transaction for each level-1
        table that exists, as what has none has no page.
        """
        try:
            cursor = yield from self.lock(cpu, start, end)
        except OutOfMemory:
            for first in range(start - start % SLOTS, end, SLOTS):
                low, high = max(start, first), min(end, first + SLOTS)
                if self.root.deepest(low).level > 1:
                    continue
                try:
                    cursor = yield from self.lock(cpu, low, high)
                except OutOfMemory:  # somebody else has just unlinked it
                    continue
                yield from body(cursor)
            return
        yield from body(cursor)

    def unmap_pages(self, cpu: Cpu, start: int, end: int) -> Steps[None]:
        """`VmMapping::unmap`: one transaction; flush and acks inside."""
        return self.transact(cpu, start, end, self._unmap)

    def _unmap(self, cursor: Cursor) -> Steps[None]:
        removed = yield from cursor.unmap()
        yield from self.end_unmap(cursor, removed)

    def end_unmap(self, cursor: Cursor, removed: list[Piece]) -> Steps[None]:
        """Flush what was *removed*, end the transaction, and free it after a grace period."""
        cpu = cursor.cpu
        gone = [piece if isinstance(piece, Alike) else (piece[0], piece[1].frame) for piece in removed]
        detached = cursor in self.rules.detached
        self.rules.detached.discard(cursor)
        if removed or detached:
            yield from self.tlb.flush(cpu, pages_of(gone), freed_tables=detached, whole=detached)
        yield from self.unlock(cursor)
        yield from self.free_later(cpu, removed)

    def free_later(self, cpu: Cpu, removed: list[Piece]) -> Steps[None]:
        """Free what was *removed* after a grace period."""
        if removed:
            yield from self.kernel.rcu.defer(cpu, FreePages(self, removed))

    def truncate(self, cpu: Cpu, start: int, end: int) -> Steps[None]:
        """`alloc_free_region_exact_truncate`: nothing is mapped in [*start*, *end*) any more.

        One mapping after the other: out of the set, what lies outside in again, and its pages unmapped.
        """
        for mapping in (yield from self.inner.over(cpu, start, end)):
            low, high = max(start, mapping.start), min(end, mapping.end)
            yield from self.take(cpu, mapping, low, high)
            yield from self.unmap_pages(cpu, low, high)
            self.drop(cpu, mapping)

    def take(self, cpu: Cpu, mapping: Mapping, low: int, high: int) -> Steps[None]:
        """*mapping* without [*low*, *high*); the caller drops its object."""
        ends = (mapping.start, low), (high, mapping.end)
        rest = [mapping.part(start, end) for start, end in ends if start < end]
        self.kept += rest
        yield from self.take_out(cpu, mapping)
        for part in rest:
            yield from self.put_in(cpu, part)
        self.kept.clear()

    def take_out(self, cpu: Cpu, mapping: Mapping) -> Steps[None]:
        """Out of the set, and of the reverse map of what is shared. The caller drops its object."""
        yield from self.inner.remove(cpu, mapping.start)
        yield from self.mapped(cpu, mapping, -1)

    def put_in(self, cpu: Cpu, mapping: Mapping) -> Steps[None]:
        """`insert_without_try_merge`: into the set, and the reverse map."""
        cpu.work(self.costs.mapping, MAPPINGS)
        self.hold(mapping)
        yield from self.mapped(cpu, mapping, 1)
        yield from self.inner.insert(cpu, mapping)

    def put_in_joined(self, cpu: Cpu, mapping: Mapping) -> Steps[None]:
        """`insert_try_merge`: the same, as one with neighbours that are alike."""
        before = yield from self.inner.before(cpu, mapping.start)
        behind = yield from self.inner.after(cpu, mapping.start)
        joined = mapping
        gone: list[Mapping] = []
        if before is not None and before.joins(joined):
            gone.append(before)
            joined = before._replace(end=joined.end)
        if behind is not None and joined.joins(behind):
            gone.append(behind)
            joined = joined._replace(end=behind.end)
        self.kept += gone
        for each in gone:
            cpu.work(self.costs.mapping, MAPPINGS)
            yield from self.take_out(cpu, each)
        yield from self.put_in(cpu, joined)
        self.kept.clear()
        for each in gone:
            self.drop(cpu, each)

    def hold(self, mapping: Mapping) -> None:
        """Its object has a mapping more."""
        if mapping.vmo is not None:
            mapping.vmo.hold()

    def drop(self, cpu: Cpu, mapping: Mapping) -> None:
        """One less."""
        if mapping.vmo is not None:
            mapping.vmo.release(cpu)

    def mapped(self, cpu: Cpu, mapping: Mapping, number: int) -> Steps[None]:
        """The reverse map of a shared object counts *number* mappings of it here more."""
        if mapping.vmo is None or not mapping.shared:
            return
        spaces = self.asterinas.mapped_by(mapping.vmo)
        yield from mapping.vmo.mappers_lock.acquire(cpu)
        cpu.work(self.costs.mapping, LOCK_RMAP)
        spaces[self] = spaces.get(self, 0) + number
        if not spaces[self]:
            del spaces[self]
        yield from mapping.vmo.mappers_lock.release(cpu)

    def behind(self, vmo: Vmo, index: int) -> list[range]:
        """What is mapped of *vmo* from its page *index* on and shared."""
        return [
            range(max(mapping.start, mapping.start + index - mapping.offset), mapping.end)
            for mapping in self.inner
            if mapping.vmo is vmo and mapping.shared and mapping.page_of(mapping.end - 1) >= index
        ]

    def look(self, cpu: Cpu, steps: Steps[T]) -> Steps[T]:
        """*steps* with the Vmar's lock for reading; raises what they raise."""
        yield from self.vmar_lock.read_lock(cpu)
        try:
            value = yield from steps
        except (SegmentationFault, OutOfMemory):
            yield from self.vmar_lock.read_unlock(cpu)
            raise
        yield from self.vmar_lock.read_unlock(cpu)
        return value

    def change(self, cpu: Cpu, steps: Steps[T]) -> Steps[T | Errno]:
        """*steps* with the Vmar's lock for writing; `ENOMEM` where they find no memory for a table."""
        yield from self.vmar_lock.write_lock(cpu)
        value: T | Errno
        try:
            value = yield from steps
        except OutOfMemory:
            value = Errno.ENOMEM
        yield from self.vmar_lock.write_unlock(cpu)
        return value
