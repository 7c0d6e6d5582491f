"""Steps on memory that the program itself manages, by the module exmap."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from sim.mm import ExmapAlloc, ExmapFree, ExmapSetup, MmapExmap, Operation, Touch
from sim.quantities import PAGE_BYTES, Size
from sim.workload.place_spec import PlacedStep, RangeStep

WORDS = 512
"""Request words of an interface."""


class ExmapStep(PlacedStep):
    """Set an exmap up and map it: a pool of pages, and interfaces to ask for them."""

    asks = MmapExmap

    at: Literal["anywhere", "layout"]
    """`anywhere` the kernel likes, or the whole `layout`."""
    pool: Size
    """Memory that it has in all."""
    interfaces: PositiveInt | Literal["threads"] = "threads"
    """How many interfaces: one for each of the process's `threads` with slots, or so many. A thread uses that
    of its number."""

    @property
    def operations(self) -> set[type[Operation]]:
        return {ExmapSetup, MmapExmap}

    @model_validator(mode="after")
    def _is_sized(self) -> Self:
        if not self.pool or self.pool % PAGE_BYTES:
            raise ValueError("`pool` must be a whole number of pages of 4 KiB")
        if self.at == "anywhere" and self.size is None:
            raise ValueError("an exmap at `anywhere` needs a `size`")
        return self


class ExmapAllocStep(RangeStep):
    """Allocate the pages of a range, a request word for each, and write them."""

    asks = ExmapAlloc

    batch: PositiveInt = Field(WORDS, le=WORDS)
    """Pages of one call."""
    by: Literal["ioctl", "pread"] | None = None
    """By which system call. Absent: `pread` for a single page, else the ioctl."""
    touch: bool = True
    """Whether the pages of a call are written as soon as it returns."""

    @property
    def operations(self) -> set[type[Operation]]:
        return {ExmapAlloc, Touch}

    @model_validator(mode="after")
    def _pread_is_for_one(self) -> Self:
        if self.by == "pread" and self.batch != 1:
            raise ValueError("pread allocates one range: it goes with `batch: 1`")
        return self

    def call(self, interface: int, pages: range) -> ExmapAlloc:
        """The call for *pages*."""
        by = self.by or ("pread" if self.batch == 1 else "ioctl")
        return ExmapAlloc(interface, words_of(pages), by)


class ExmapFreeStep(RangeStep):
    """Free the pages of a range, a request word for each."""

    asks = ExmapFree

    batch: PositiveInt = Field(WORDS, le=WORDS)
    """Pages of one call, which flushes once."""


def words_of(pages: range) -> tuple[range, ...]:
    """A request word for each of *pages*."""
    return tuple(range(page, page + 1) for page in pages)
