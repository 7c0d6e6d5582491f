"""What a locking protocol is: how cursors find what covers their range, lock it and let it go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, ClassVar, TypeVar

from mypy_extensions import mypyc_attr

from sim.engine import Steps

if TYPE_CHECKING:
    from sim.designs.cortenmm.cursor import Cursor
    from sim.designs.cortenmm.mm import CortenMm
    from sim.hardware import Cpu
    from sim.mm import PageTablePage

T = TypeVar("T")


@mypyc_attr(allow_interpreted_subclasses=True)
class Protocol(ABC):
    """One object for each address space."""

    __slots__ = ("_space",)

    versioned: ClassVar[bool] = False
    """Each entry has a version, and who only looks takes no lock (`look`)."""
    walks_in_rcu: ClassVar[bool] = False
    """A walk takes no locks on its way, and tables are freed after a grace period."""
    entry_by_entry: ClassVar[bool] = False
    """A range is locked and unlocked entry by entry, so that nobody has all of it at once."""

    def __init__(self, space: CortenMm) -> None:
        self._space = space

    @abstractmethod
    def make_lock(self, table: PageTablePage) -> object:
        """The lock of a new page-table page, on its descriptor's line."""

    @abstractmethod
    def lock(self, cursor: Cursor) -> Steps[None]:
        """Find and lock the covering page of the cursor's range."""

    @abstractmethod
    def unlock(self, cursor: Cursor) -> Steps[None]:
        """Release everything, in reverse order."""

    def adopt(self, cursor: Cursor, child: PageTablePage) -> Steps[None]:
        """A page that the cursor has made below its covering page, not linked yet. Nothing has to be locked
        where the lock of the covering page covers what is below."""
        return
        yield

    def disown(self, cursor: Cursor, child: PageTablePage) -> Steps[None]:
        """A subtree that the cursor has unlinked: hand it over for freeing. Where nobody else can be inside,
        only TLBs may still walk it, so it is freed after the flush."""
        cursor.unlinked += stray_below(cursor.cpu, child)
        return
        yield

    def look(self, cpu: Cpu, start: int, end: int, body: Callable[[Cursor], Steps[T]]) -> Steps[T]:
        """What *body*, which changes nothing, finds in the range."""
        cursor = yield from self._space.lock_range(cpu, start, end)
        value = yield from body(cursor)
        yield from self._space.unlock(cursor)
        return value

    def change(self, cursor: Cursor, table: PageTablePage, slots: Collection[int]) -> None:
        """The cursor, which has the lines, changes what is in these *slots* of *table* now. Only asked where
        they are `versioned`."""
        raise NotImplementedError


def stray_below(cpu: Cpu, child: PageTablePage) -> list[PageTablePage]:
    """All tables of the subtree *child*, which *cpu* has unlinked: they are stray from now on."""
    tables = list(child.tables())
    for table in tables:
        table.stray = True
    if cpu.heard:
        cpu.probe.tables_unlinked(cpu, tables)
    return tables
