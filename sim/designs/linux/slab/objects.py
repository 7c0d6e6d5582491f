"""Slabs and the objects in them: each has its place in a block of pages, and cache lines by that place.

    slab of 40-byte objects   |  0  |  1 .|.  2  | . 3  |  4 .|. ...
    its lines                 |     0     |     1     |     2     |

Two objects that lie in one line move together between caches, whoever uses them. A line exists from its first
access on and stays with the slab: an object that is used again finds its lines with whoever had them last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sim.engine import Activity
from sim.errors import ModelError
from sim.hardware import MEMORY, CacheLine, LineSpan, make_line
from sim.quantities import LINE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.designs.linux.objcg import ObjectCharges
    from sim.designs.linux.slab.spec import CacheSpec
    from sim.engine import Steps
    from sim.hardware import Cpu, Machine
    from sim.mm import Footprint

Lines = CacheLine | LineSpan


class Cache(Protocol):
    """What a slab knows of its cache, and who has an object may ask of it (`KmemCache`)."""

    machine: Machine
    charges: ObjectCharges | None
    footprint: Footprint
    name: str
    spec: CacheSpec
    per_slab: int
    shape: Shape
    waiting: int

    def free(self, cpu: Cpu, thing: SlabObject) -> Steps[None]: ...

    def free_deferred(self, cpu: Cpu, thing: SlabObject) -> Steps[None]: ...

    def release_later(self, cpu: Cpu, things: Sequence[SlabObject]) -> Steps[None]: ...


class Shape:
    """How the objects of a cache lie in its slabs: a free one links to the next at its byte *pointer*.

    *units* are the parts of an object, as ranges of bytes, whose lines are always used together; where
    objects share lines (*shares*), each line is by itself. *size* bytes are used, and a look-up reads the
    first *head* of them.
    """

    __slots__ = ("head", "pointer", "shares", "size", "stride", "units")

    def __init__(self, spec: CacheSpec, units: tuple[int, ...]) -> None:
        """*units* are the bytes at which another part of the object begins, if not at each line."""
        self.size: int = spec.size
        self.head: int = spec.head
        self.stride: int = spec.stride
        self.shares = self.stride % LINE_BYTES != 0
        self.pointer = self.size // 2 // 8 * 8
        begins = (0, *(units or range(LINE_BYTES, self.stride, LINE_BYTES)))
        self.units: list[tuple[int, int]] = list(zip(begins, (*begins[1:], self.stride), strict=True))


class Slab:
    """A block of 2**order frames from *frame* on, cut into objects (struct slab).

    *free* are the objects on its own list, by number; those on a cpu's list count as *inuse*, as in the
    kernel. *frozen*: it is some cpu's slab, which alone takes it off. *listed*: it is on its node's list.
    *live* is a bit set of the objects that somebody has, for the check at the end.
    """

    __slots__ = (
        "_lines",
        "_maker",
        "_objects",
        "_used",
        "cache",
        "frame",
        "free",
        "frozen",
        "home",
        "inuse",
        "listed",
        "live",
        "meta",
        "node",
        "shape",
    )

    def __init__(
        self, cache: Cache, frame: int, node: int, home: int, maker: int = MEMORY, *, used: bool = False
    ) -> None:
        """All objects are free. *node* is the one whose list it is put on, *home* the socket of its memory;
        cpu *maker* has just linked its objects or, if they are *used*, used and freed all of them."""
        self.cache = cache
        self.shape: Shape = cache.shape
        self.frame = frame
        self.node = node
        self.home = home
        self.free: list[int] = list(range(cache.per_slab - 1, -1, -1))
        self.inuse = 0
        self.frozen = False
        self.listed = False
        self.live = 0
        self.meta = cache.machine.line(f"struct slab of {cache.name}", home, owner=maker)
        self._maker = maker
        self._used = used
        self._lines: dict[int, CacheLine] = {}
        self._objects: dict[int, SlabObject] = {}

    def __repr__(self) -> str:
        return f"slab {self.frame:#x} of {self.cache.name}"

    def take(self, index: int) -> None:
        """Somebody has object *index* from now on."""
        if self.live >> index & 1:
            raise ModelError(f"object {index} of {self!r} is given away and in use")
        self.live |= 1 << index

    def at(self, index: int) -> SlabObject:
        """Object *index*."""
        found = self._objects.get(index)
        if found is None:
            found = self._objects[index] = SlabObject(self, index)
        return found

    def give_back(self, index: int) -> None:
        """Nobody has it any more."""
        if not self.live >> index & 1:
            raise ModelError(f"object {index} of {self!r} is freed and is free")
        self.live &= ~(1 << index)

    def unit(self, first: int, lines: int) -> CacheLine:
        """The *lines* lines from number *first* on, which are always used together."""
        line = self._lines.get(first)
        if line is None:
            fabric = self.cache.machine.fabric
            owner = self._first_owner(first)
            line = make_line(fabric, self.cache.name, self.home, owner=owner, lines=lines)
            self._lines[first] = line
        return line

    def _first_owner(self, line: int) -> int:
        """Who has line number *line* at first: who used the objects, or linked them, if a link lies in it."""
        if self._used or self._maker == MEMORY:
            return self._maker
        stride, pointer = self.shape.stride, self.shape.pointer
        index = max(0, (line * LINE_BYTES - pointer + stride - 1) // stride)
        return self._maker if (index * stride + pointer) // LINE_BYTES == line else MEMORY


def _together(lines: list[CacheLine]) -> Lines:
    return lines[0] if len(lines) == 1 else LineSpan(lines)


def fill(cpu: Cpu, activity: Activity, *things: SlabObject) -> Steps[None]:
    """Write all of *things*, which have just been allocated, one after the other: their misses overlap, for
    nothing waits for a store."""
    yield from LineSpan([line for thing in things for line in thing.lines()]).store(cpu, activity)


class SlabObject:
    """Object *index* of *slab*. *head* are the lines that a look-up reads, *whole* are all of its lines.

    *core* is the one in whose caches it was when it was given up; *seen* is how many lines of objects these
    had seen by then, *shared* how many those of the core's cluster had.
    *tenant* is what lay in it last, where somebody may still look at it after it was freed
    (SLAB_TYPESAFE_BY_RCU).
    """

    __slots__ = ("core", "head", "index", "seen", "shared", "slab", "tenant", "whole")

    def __init__(self, slab: Slab, index: int) -> None:
        self.slab = slab
        self.index = index
        self.core = -1
        self.seen = self.shared = 0
        self.tenant: object = None
        shape = slab.shape
        start = index * shape.stride
        if shape.shares:
            first = start // LINE_BYTES
            lines = [slab.unit(line, 1) for line in range(first, -(-(start + shape.size) // LINE_BYTES))]
            head = -(-(start + shape.head) // LINE_BYTES) - first
        else:
            lines = [
                slab.unit((start + low) // LINE_BYTES, (high - low) // LINE_BYTES)
                for low, high in shape.units
            ]
            head = 1
        self.whole: Lines = _together(lines)
        self.head: Lines = self.whole if head == len(lines) else _together(lines[:head])

    def __repr__(self) -> str:
        return f"object {self.index} of {self.slab!r}"

    @property
    def is_live(self) -> bool:
        """Whether it has not been given back: that it waits for a grace period does not count."""
        return bool(self.slab.live >> self.index & 1)

    def line(self, offset: int) -> CacheLine:
        """The line with its byte *offset*."""
        shape = self.slab.shape
        at = self.index * shape.stride + offset
        if shape.shares:
            return self.slab.unit(at // LINE_BYTES, 1)
        for low, high in shape.units:
            if low <= offset < high:
                start = self.index * shape.stride + low
                return self.slab.unit(start // LINE_BYTES, (high - low) // LINE_BYTES)
        raise ModelError(f"{self!r} has no byte {offset}")

    def lines(self) -> tuple[CacheLine, ...]:
        """All of its lines."""
        whole = self.whole
        return whole.lines if isinstance(whole, LineSpan) else (whole,)

    def touch(self, cpu: Cpu, activity: Activity) -> Steps[None]:
        """Write its free pointer, and its rcu_head where it has one: the lines of its head."""
        return self.head.store(cpu, activity)
