"""Morsels: an object is a file of the model, under its ID."""

from __future__ import annotations

from typing import Any

from sim.mm import (
    CreateMorsel,
    DestroyMorsel,
    Errno,
    MapMorsel,
    has_meta,
    morsel_pages,
    order_of,
)
from sim.verify.effects.registry import effect, outside
from sim.verify.model import (
    File,
    Mismatch,
    Page,
    Process,
    tables_over,
)


@effect.register
def create_morsel(asked: CreateMorsel, process: Process, told: Any = None) -> int | Errno:
    """Which ID it gets is the kernel's choice."""
    if not isinstance(told, int) or order_of(told) != asked.order or has_meta(told) != asked.meta:
        raise Mismatch(f"a morsel of order {asked.order} is called {told}")
    file = process.files[told] = File(morsel_pages(asked.order))
    if asked.order == 0:
        file.page(0)
    return told


@effect.register
def destroy_morsel(asked: DestroyMorsel, process: Process, told: Any = None) -> Errno | None:
    """Nobody maps it."""
    return None if process.files.pop(asked.morsel, None) is not None else Errno.EINVAL


@effect.register
def map_morsel(asked: MapMorsel, process: Process, told: Any = None) -> int | Errno:
    """All of it, where nothing is; what has been brought in by anybody is there."""
    order, start, limit = order_of(asked.morsel), asked.at, process.rules.max_map_count
    if order is None or order >= process.rules.levels:
        return Errno.EINVAL
    assert start is not None
    if process.vmas is not None and limit is not None and len(process.vmas()) > limit:
        return Errno.ENOMEM
    if start % asked.pages:
        return Errno.EINVAL
    if outside(start, asked.pages):
        return Errno.ENOMEM
    if any(process.mapped(start, start + asked.pages)):
        return Errno.EEXIST
    file = process.files[asked.morsel]
    for index in range(asked.pages):
        its = Page(asked.rights, file.frames.get(index), file=file, index=index, shared=True, morsel=True)
        process.pages[start + index] = its
    process.tables.update(each for each in tables_over(start, process.rules.levels) if each[0] > order)
    return start
