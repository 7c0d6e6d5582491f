"""optimistic: each entry has a version in its metadata, and who only looks takes no lock.

    writer   lock as adv | version odd, entry | version odd, entry | ... | versions even | unlock
    reader   R version, entry | R version, entry | ... | versions again: all even and the same? else once more
                                                         ^ what was read was there at one moment

A version is odd from the change of its entry to the end of the transaction, so a reader sees the entries of
all committed transactions, and of no other. A table cannot go unnoticed either: the entry that leads to it
has a version. After some attempts in vain a reader takes the locks. Readers are the first look of a fault,
which finds that somebody else was faster without allocating a frame, and all of mincore, msync and the advice
that says nothing.

Neither paper nor artifact has it: it is what the metadata array would allow. A version takes 8 bytes, so
entries of the array have 16 and lie next to their version.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from sim.designs.cortenmm.cursor import Cursor
from sim.designs.cortenmm.protocols.adv import AdvProtocol
from sim.engine import Activity, Steps
from sim.mm import LOCK_PAGE_TABLE, PAGE_TABLE, PageTablePage
from sim.sync import McsLock

if TYPE_CHECKING:
    from sim.designs.cortenmm.mm import CortenMm
    from sim.hardware import CacheLine, Cpu
    from sim.sync import QueueNodes

T = TypeVar("T")

ATTEMPTS: Final = 3
"""Times that a reader looks before it takes the locks."""


class VersionedLock(McsLock):
    """A table's lock, and the versions of its entries: *versions* has those that were ever changed."""

    __slots__ = ("versions",)

    def __init__(self, nodes: QueueNodes, line: CacheLine, activity: Activity) -> None:
        super().__init__(nodes, line, activity)
        self.versions: dict[int, int] = {}


class Reader(Cursor):
    """Looks at entries without a lock, and knows which versions they had."""

    __slots__ = ("_seen",)

    whole: ClassVar[bool] = False

    def __init__(self, space: CortenMm, cpu: Cpu, start: int, end: int) -> None:
        super().__init__(space, cpu, start, end)
        self._seen: dict[tuple[PageTablePage, int], int] = {}

    def load_all(self, table: PageTablePage, slots: Collection[int]) -> Steps[None]:
        yield from super().load_all(table, slots)
        for slot in slots:
            self._seen.setdefault((table, slot), table.lock.versions.get(slot, 0))

    def is_valid(self) -> Steps[bool]:
        """Value: whether all that was seen was there at one moment."""
        for line in _lines(self._seen):
            yield from line.read(self.cpu, PAGE_TABLE)
        return all(
            version % 2 == 0 and table.lock.versions.get(slot, 0) == version
            for (table, slot), version in self._seen.items()
        )


class OptimisticProtocol(AdvProtocol):
    """adv for those who write, versions for those who look."""

    versioned: ClassVar[bool] = True

    def make_lock(self, table: PageTablePage) -> VersionedLock:
        return VersionedLock(self._space.kernel.nodes, table.meta, LOCK_PAGE_TABLE)

    def look(self, cpu: Cpu, start: int, end: int, body: Callable[[Cursor], Steps[T]]) -> Steps[T]:
        space = self._space
        for _ in range(ATTEMPTS):
            cpu.work(space.cost.cursor, PAGE_TABLE)
            reader = Reader(space, cpu, start, end)
            space.kernel.rcu.read_lock(cpu)
            value = yield from body(reader)
            valid = yield from reader.is_valid()
            space.kernel.rcu.read_unlock(cpu)
            if valid:
                return value
        return (yield from super().look(cpu, start, end, body))

    def change(self, cursor: Cursor, table: PageTablePage, slots: Collection[int]) -> None:
        versions = table.lock.versions
        for slot in slots:
            if (table, slot) not in cursor.written:
                cursor.written[table, slot] = None
                versions[slot] = versions.get(slot, 0) + 1

    def unlock(self, cursor: Cursor) -> Steps[None]:
        yield from self._commit(cursor, list(cursor.written))
        yield from super().unlock(cursor)

    def _drop(self, cursor: Cursor, table: PageTablePage) -> Steps[None]:
        """A table that was only passed: a child of it that has been made says the same as before."""
        yield from self._commit(cursor, [each for each in cursor.written if each[0] is table])
        yield from super()._drop(cursor, table)

    def _commit(self, cursor: Cursor, entries: Collection[tuple[PageTablePage, int]]) -> Steps[None]:
        for line in _lines(entries):
            yield from line.store(cursor.cpu, PAGE_TABLE)
        for table, slot in entries:
            table.lock.versions[slot] += 1
            del cursor.written[table, slot]


def _lines(entries: Iterable[tuple[PageTablePage, int]]) -> list[CacheLine]:
    """The lines with the versions of *entries*."""
    found = {table.array.line(slot): None for table, slot in entries if table.array is not None}
    return list(found)
