"""What goes into the log, and what comes of it (nrproc.rs: ProcessOpMut, ProcessResult)."""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

from sim.designs.nros.btree import Mapping
from sim.mm import Errno, Rights


class MapFrame(NamedTuple):
    """MemMapFrame: *mapping* begins at *page*. Its frame has been allocated and zeroed before."""

    page: int
    mapping: Mapping


class Unmap(NamedTuple):
    """MemUnmap: the mapping in which *page* lies goes, as a whole."""

    page: int


class Adjust(NamedTuple):
    """It has *rights* from now on (AddressSpace::adjust, for which 38557a6 has no system call)."""

    page: int
    rights: Rights


LogOperation: TypeAlias = MapFrame | Unmap | Adjust


class Answer(NamedTuple):
    """*refused* says why nothing was done; else *mapping*, which begins at *page*, is what was mapped there
    before, or is now."""

    refused: Errno | None
    page: int
    mapping: Mapping | None


NOT_MAPPED: Final = Answer(Errno.ENOENT, 0, None)
