"""What all effects have in common: who they are asked of, and what a range may not cut."""

from __future__ import annotations

from functools import singledispatch
from typing import Any, Final

from sim.mm import (
    Operation,
)
from sim.verify.model import (
    HUGE,
    Process,
)

USER: Final = 1 << 35
"""Pages of user memory under tables of four levels."""


@singledispatch
def effect(asked: Operation, process: Process, told: Any = None) -> Any:
    """Do *asked* to *process*; value: what the kernel answers.

    *told* is what it has answered, for what it is free to choose: raises `Mismatch` where that cannot be.
    """
    raise NotImplementedError(f"the model does not know {asked.name}")


def outside(at: int, pages: int) -> bool:
    return at < 0 or pages < 0 or at + pages > USER


def cuts(process: Process, at: int) -> bool:
    """Whether a mapping that begins or ends at *at* would cut a huge page of the pool, or a large frame."""
    if at % HUGE == 0 or at not in process.pages:
        return False
    return process.pages[at].huge or process.pages[at].in_large or cuts_morsel(process, at)


def cuts_morsel(process: Process, at: int) -> bool:
    """Whether a mapping that begins or ends at *at* would cut a morsel."""
    return at in process.pages and process.pages[at].morsel and process.pages[at].index > 0


def over_huge(process: Process, start: int, end: int) -> list[tuple[int, int]]:
    """The parts of VMAs in a range that has huge pages of the pool in it; none where it has not."""
    if process.vmas is None or not any(process.pages[page].huge for page in process.mapped(start, end)):
        return []
    return [(max(low, start), min(high, end)) for low, high in process.vmas() if low < end and start < high]
