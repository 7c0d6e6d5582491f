"""What a mark says of a page, whether that is present, swapped out or neither.

A present entry of private anonymous memory says all by itself. Of other memory, and of locked memory, what
the page was before it came is kept beside the entry (`PageTablePage.metadata`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from sim.mm import Kind, PageTablePage, Present, Status


class Moving:
    """The *backing* of a mark that keeps a place while one mremap has its pages."""

    __slots__ = ()


def mark_of(entry: Present | Status, was: Status | None) -> Status:
    """The mark of a page without its contents. *was* is what is kept beside the entry."""
    if isinstance(entry, Present):
        return Status(entry.rights) if was is None else was.with_rights(entry.rights)
    if entry.kind is Kind.SWAPPED:
        kind = Kind.PRIVATE_ANONYMOUS if entry.backing is None else Kind.PRIVATE_FILE
        return replace(entry, kind=kind, slot=None)
    return entry


def beside(mark: Status) -> Status | None:
    """What has to be kept beside a present entry of a page with this *mark*."""
    plain = mark.kind is Kind.PRIVATE_ANONYMOUS and not mark.locked
    return None if plain else mark


def swapped(mark: Status, slot: int) -> Status:
    """The entry of a page with this *mark* whose contents are in *slot*."""
    return replace(mark, kind=Kind.SWAPPED, slot=slot)


def slots_of(tables: Iterable[PageTablePage]) -> Iterator[int]:
    """The swap slots that marks in *tables* say."""
    for table in tables:
        if table.level == 1:
            for entry in table.entries:
                if isinstance(entry, Status) and entry.slot is not None:
                    yield entry.slot
