"""Pages that are given up together: lists of single frames and of runs of them, cut into batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def count_pages(frames: int | range) -> int:
    """How many pages that is; the pages of a folio count as one."""
    return len(frames) if isinstance(frames, range) else 1


def batches(frames: Iterable[int | range], size: int) -> Iterator[list[int | range]]:
    """*frames* in order, *size* pages at a time; the last batch may be smaller."""
    batch: list[int | range] = []
    room = size
    for each in frames:
        rest = each if isinstance(each, range) else range(each, each + 1)
        single = rest is not each
        while rest:
            now, rest = rest[:room], rest[room:]
            batch.append(now.start if single else now)
            room -= len(now)
            if not room:
                yield batch
                batch, room = [], size
    if batch:
        yield batch
