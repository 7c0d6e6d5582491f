"""exmap: pages that the program takes from a pool and gives back."""

from __future__ import annotations

from typing import Any

from sim.mm import (
    Errno,
    ExmapAlloc,
    ExmapCall,
    ExmapFree,
    ExmapRead,
    ExmapSetup,
    MmapExmap,
)
from sim.verify.effects.registry import effect
from sim.verify.model import (
    HUGE,
    WHATEVER,
    Exmap,
    Frame,
    Page,
    Process,
    Undetermined,
    tables_over,
)


@effect.register
def exmap_setup(asked: ExmapSetup, process: Process, told: Any = None) -> Errno | None:
    """Whole bundles, and what is left."""
    if asked.frames <= 0 or not 0 < asked.interfaces <= 256:
        return Errno.EINVAL
    if process.exmap is not None:
        return Errno.EBUSY
    whole, rest = divmod(asked.frames, Exmap.FULL)
    listed = [Exmap.FULL] * whole + ([rest] if rest else [])
    process.exmap = Exmap([0] * asked.interfaces, listed)
    return None


@effect.register
def mmap_exmap(asked: MmapExmap, process: Process, told: Any = None) -> int | Errno:
    """Once, at a given place."""
    if any(page.exmap for page in process.pages.values()):
        return Errno.EBUSY
    limit = process.rules.max_map_count
    if asked.at is None or (limit is not None and limit < 100):
        raise Undetermined
    process.unmap(asked.at, asked.at + asked.pages)
    for page in range(asked.at, asked.at + asked.pages):
        process.pages[page] = Page(asked.rights, shared=True, exmap=True)
    return asked.at


def _exmap_of(asked: ExmapCall, process: Process) -> Exmap | Errno:
    exmap = process.exmap
    if exmap is None:
        return Errno.EBADF
    proxy = isinstance(asked, ExmapRead) or (isinstance(asked, ExmapAlloc) and asked.by == "pread")
    words = len(asked.parts)
    if not 0 <= asked.interface < len(exmap.local) or words > (1 if proxy else 512) or (proxy and not words):
        return Errno.EINVAL
    return exmap if exmap.active else Errno.EPROTO


@effect.register
def exmap_alloc(asked: ExmapAlloc, process: Process, told: Any = None) -> int | Errno:
    """Part by part, until there are no pages left."""
    exmap = _exmap_of(asked, process)
    if isinstance(exmap, Errno):
        return exmap
    came = 0
    for part in asked.parts:
        pages, enough = _alloc(exmap, asked.interface, process, part)
        came += pages
        if not enough:
            break
    return came


@effect.register
def exmap_read(asked: ExmapRead, process: Process, told: Any = None) -> int | Errno:
    """The same of one part, which is read if all of it came."""
    exmap = _exmap_of(asked, process)
    if isinstance(exmap, Errno):
        return exmap
    (part,) = asked.parts
    came, _ = _alloc(exmap, asked.interface, process, part)
    return came if came == len(part) else 0


def _alloc(exmap: Exmap, interface: int, process: Process, part: range) -> tuple[int, bool]:
    """How many pages of *part* come, and whether there were enough. A page that stands alone in its table is
    taken from the pool before anybody looks whether one is there."""
    came = 0
    if not all(page in process.pages and process.pages[page].exmap for page in part):
        return 0, True
    for page in part:
        process.tables.update(tables_over(page, process.rules.levels))
        alone = page - 1 not in part or page % HUGE == 0
        alone = alone and (page + 1 not in part or page % HUGE == HUGE - 1)
        its = process.pages[page]
        if its.frame is None or alone:
            if not exmap.take(interface):
                return came, False
            if its.frame is None:
                its.frame, its.dirty = Frame(WHATEVER), False
                came += 1
            else:
                exmap.put(interface)
    return came, True


@effect.register
def exmap_free(asked: ExmapFree, process: Process, told: Any = None) -> int | Errno:
    """Those that are there."""
    exmap = _exmap_of(asked, process)
    if isinstance(exmap, Errno):
        return exmap
    freed = 0
    for part in asked.parts:
        if all(page in process.pages and process.pages[page].exmap for page in part):
            for page in part:
                if process.pages[page].frame is not None:
                    process.pages[page].frame, process.pages[page].dirty = None, False
                    exmap.put(asked.interface)
                    freed += 1
    return freed
