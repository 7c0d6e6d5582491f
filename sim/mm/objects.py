"""Memory as objects: what is made once, mapped into any number of processes, and lives until it is destroyed.

A *morsel* is a subtree of page tables of its own (A. Halbuer, Morsels: self-contained memory areas, Hannover
2022). Its ID is the very entry that refers to it, with a tag of the order:

    63        56  55  54    52 51                     12 11         0
    | not used  |meta|order + 1|    frame of the root   |   flags    |

    order          0: a page   1: 2 MiB   2: 1 GiB   3: 512 GiB   4: 256 TiB
    root is a      page        PTE table  PMD table  PUD table    P4D table

An ordinary entry has 0 where the tag is, so it is no ID. Which of the bits that hardware ignores the tag lies
in is not published, and makes no difference here. Nobody protects a kernel against forged IDs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sim.mm.entries import READ_WRITE, Rights
from sim.mm.operations import Operation

if TYPE_CHECKING:
    from sim.mm.file import File

MAX_MORSEL: Final = 4
"""The largest order: an entry of the root of five levels refers to it."""

_FRAME_SHIFT: Final = 12
_FRAME_MASK: Final = (1 << 40) - 1
_TAG_SHIFT: Final = 52
_META: Final = 1 << 55
_FLAGS: Final = 0b111
"""Present, writable, of user mode."""


def morsel_pages(order: int) -> int:
    """Pages of a morsel of *order*."""
    return 1 << 9 * order


def order_for(pages: int) -> int:
    """The smallest order that has room for *pages* pages."""
    return next(order for order in range(MAX_MORSEL + 1) if morsel_pages(order) >= pages)


def full_tables(order: int) -> int:
    """Table pages of a morsel of *order* all of whose pages are there, its root among them."""
    return sum(1 << 9 * level for level in range(order))


def prebuilt_pages(order: int) -> int:
    """Pages of a morsel of *order* from the beginning, where tables down to the PMD tables are built then."""
    return 1 if order < 3 else sum(1 << 9 * (order - level) for level in range(2, order + 1))


def morsel_id(frame: int, order: int, *, meta: bool = False) -> int:
    """The ID of a morsel whose root is in *frame*; *meta*: of one whose meta page is there."""
    return frame << _FRAME_SHIFT | (order + 1) << _TAG_SHIFT | (_META if meta else 0) | _FLAGS


def order_of(morsel: int) -> int | None:
    """The order in the ID *morsel*; None where there is none, as in an ordinary entry."""
    tag = morsel >> _TAG_SHIFT & 0b111
    return tag - 1 if 0 < tag <= MAX_MORSEL + 1 else None


def frame_in(morsel: int) -> int:
    """The frame in the ID *morsel*."""
    return morsel >> _FRAME_SHIFT & _FRAME_MASK


def has_meta(morsel: int) -> bool:
    """Whether that is the frame of a meta page."""
    return bool(morsel & _META)


# -- morsels --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CreateMorsel(Operation):
    """Make an empty morsel of *order*. Value: its ID, or `ENOMEM`.

    With *meta* it has a page of its own for what is to be known of it: the ID is that page's, which says
    where the data is and, with *fixed*, at which page it is to be mapped.
    """

    name = "create a morsel"
    order: int
    meta: bool = False
    fixed: int | None = None


@dataclass(frozen=True, slots=True)
class MapMorsel(Operation):
    """Map all of a morsel, by its ID, at page *at* or anywhere, to be used as *rights* say.

    It lies at a multiple of its size, and nothing may be mapped there (`EEXIST`). munmap takes all of it
    away. Value: the first page. `EINVAL` for what is no ID, or is larger than the tables allow.
    """

    name = "map a morsel"
    morsel: int
    at: int | None = None
    rights: Rights = READ_WRITE

    @property
    def pages(self) -> int:
        """How many pages are mapped."""
        order = order_of(self.morsel)
        return 0 if order is None else morsel_pages(order)


@dataclass(frozen=True, slots=True)
class DestroyMorsel(Operation):
    """All pages of a morsel go back, and its ID means nothing any more. It is mapped nowhere."""

    name = "destroy a morsel"
    morsel: int


# -- objects, whatever they are here ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CreateObject(Operation):
    """Make an object of *pages* pages: a morsel, or shared memory. Value: a `File` that stands for it."""

    name = "create an object"
    title: str
    pages: int


@dataclass(frozen=True, slots=True)
class MapObject(Operation):
    """Map *pages* pages of *file*, an object, from its first on, at page *at* or anywhere.

    Value: the first page.
    """

    name = "map an object"
    file: File
    pages: int
    at: int | None = None
    rights: Rights = READ_WRITE


@dataclass(frozen=True, slots=True)
class DestroyObject(Operation):
    """The object *file* is gone once nobody maps it."""

    name = "destroy an object"
    file: File
