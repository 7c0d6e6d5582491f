"""One mapping of a Vmar (kernel/core/src/vm/vmar/vm_mapping.rs of Asterinas 0.18.1)."""

from __future__ import annotations

from typing import NamedTuple

from sim.designs.cortenmm.vmo import Vmo
from sim.mm import Rights


class Mapping(NamedTuple):
    """Pages [*start*, *end*) with *rights*: private anonymous memory, or those of *vmo* from *offset* on,
    *shared* or to be copied on a write. *around*: a fault that reads brings in the 16 pages about it."""

    start: int
    end: int
    rights: Rights
    shared: bool = False
    vmo: Vmo | None = None
    offset: int = 0
    around: bool = False

    def page_of(self, page: int) -> int:
        """The page of the object that is mapped at *page*."""
        return self.offset + page - self.start

    def part(self, start: int, end: int) -> Mapping:
        """What it is of [*start*, *end*), which lies in it."""
        return self._replace(start=start, end=end, offset=self.page_of(start) if self.vmo is not None else 0)

    def moved(self, start: int) -> Mapping:
        """The same at *start*."""
        return self._replace(start=start, end=start + self.end - self.start)

    def joins(self, after: Mapping) -> bool:
        """`try_merge`: whether *after* goes on where this one ends."""
        if self.end != after.start or (self.vmo is not None and self.page_of(self.end) != after.offset):
            return False
        return (self.rights, self.shared, self.vmo, self.around) == (
            after.rights,
            after.shared,
            after.vmo,
            after.around,
        )
