"""Memory whose pages another thread brings in (userfaultfd)."""

from __future__ import annotations

from typing import Any

from sim.mm import (
    Errno,
    UffdClose,
    UffdCopy,
    UffdRegister,
    UffdUnregister,
    UffdWake,
    UffdZeropage,
)
from sim.verify.effects.registry import effect, outside
from sim.verify.model import (
    ZEROS,
    Frame,
    Process,
    Undetermined,
    tables_over,
)


@effect.register
def uffd_register(asked: UffdRegister | UffdUnregister, process: Process, told: Any = None) -> Errno | None:
    """Private anonymous memory only; holes are passed over."""
    limit = process.rules.max_map_count
    if process.vmas is None or limit is None or limit < 100:
        raise Undetermined
    process.uffd = process.uffd or isinstance(asked, UffdRegister)
    start, end = asked.at, asked.at + asked.pages
    pages = list(process.mapped(start, end))
    if not process.uffd or asked.pages <= 0 or outside(start, asked.pages) or not pages:
        return Errno.EINVAL
    if any(process.pages[page].file is not None or process.pages[page].huge for page in pages):
        return Errno.EINVAL
    for page in pages:
        process.pages[page].registered = isinstance(asked, UffdRegister)
    return None


@effect.register
def uffd_fill(asked: UffdCopy | UffdZeropage, process: Process, told: Any = None) -> Errno | None:
    """Page after page, up to the first that cannot be had; what was filled before stays."""
    source = asked.source if isinstance(asked, UffdCopy) else None
    if process.vmas is None or (source is not None and process.asks(range(source, source + asked.pages))):
        raise Undetermined
    wrong = source is not None and outside(source, asked.pages)
    if wrong or not process.uffd or asked.pages <= 0 or outside(asked.at, asked.pages):
        return Errno.EINVAL
    end = next((stop for start, stop in process.vmas() if start <= asked.at < stop), 0)
    if end < asked.at + asked.pages or not process.pages[asked.at].registered:
        return Errno.ENOENT
    for index in range(asked.pages):
        refused = _fill(process, asked.at + index, None if source is None else source + index)
        if refused is not None:
            return Errno.EAGAIN if index else refused
    return None


def _fill(process: Process, page: int, source: int | None) -> Errno | None:
    """A page of zeros, or with what is in *source*, which is touched for it."""
    found = 0 if source is None else process.access(source, None)
    if isinstance(found, str):
        return Errno.EFAULT
    process.tables.update(tables_over(page, process.rules.levels))
    its = process.pages[page]
    if its.frame is not None:
        return Errno.EEXIST
    its.frame = ZEROS if source is None else Frame(found)
    its.dirty = source is not None
    return None


@effect.register
def uffd_wake(asked: UffdWake, process: Process, told: Any = None) -> Errno | None:
    """Nobody waits: each page is answered before it is touched."""
    wrong = not process.uffd or asked.pages <= 0 or outside(asked.at, asked.pages)
    return Errno.EINVAL if wrong else None


@effect.register
def uffd_close(asked: UffdClose, process: Process, told: Any = None) -> None:
    """All memory is the kernel's again."""
    process.uffd = False
    for page in process.pages.values():
        page.registered = False
