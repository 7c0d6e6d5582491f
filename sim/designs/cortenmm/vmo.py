"""Virtual memory objects: the pages of files and of shared memory (artifact, kernel/src/vm/vmo).

    pages     an XArray of frames: looked up under RCU, changed under its spin lock
    pager     a file's pages come from it, which may sleep: never inside a transaction
    mappers   the spaces that have mapped a file: where its pages are looked for (SOSP'25, section 4.5)

A page belongs to its object as long as that exists: it is one of the frame's owners.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu
from sim.mm import File, Reference, tell_filled
from sim.sync import QueuedSpinLock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sim.designs.cortenmm.file_maps import FileMaps
    from sim.designs.cortenmm.kernel import CortenKernel

PAGE_CACHE: Final = Activity("page cache")
LOCK_VMO: Final = Activity("lock: page cache")
LOCK_MAPPERS: Final = Activity("lock: reverse map")

_NODE_PAGES: Final = 64
"""Pages of one node of the XArray."""


class Vmo(File):
    """*frames* by index. With a *pager* it is a file; without, shared memory that nobody has a name for.

    *users* are the mappings of it, in all spaces, and calls that are about to map it. Who changes how long it
    is has the *size_lock*. The artifact has no *mappers*.
    """

    __slots__ = (
        "_kernel",
        "_lock",
        "_nodes",
        "frames",
        "mappers",
        "mappers_lock",
        "pager",
        "size_lock",
        "users",
    )

    def __init__(self, kernel: CortenKernel, cpu: Cpu, name: str, pages: int, *, pager: bool) -> None:
        super().__init__(name, pages)
        self._kernel = kernel
        self.pager = pager
        self.users = 0
        self.frames: dict[int, int] = {}
        line = kernel.machine.line(f"{name}: pages", cpu.socket, owner=cpu.id)
        self._lock = QueuedSpinLock(kernel.nodes, line, LOCK_VMO)
        self._nodes: dict[int, CacheLine] = {}
        self.size_lock = self._own_lock(cpu, "size", LOCK_VMO)
        self.mappers: dict[FileMaps, None] = {}
        self.mappers_lock = self._own_lock(cpu, "mappers", LOCK_MAPPERS)

    def _own_lock(self, cpu: Cpu, what: str, activity: Activity) -> QueuedSpinLock:
        line = self._kernel.machine.line(f"{self.name}: {what}", cpu.socket, owner=cpu.id)
        return QueuedSpinLock(self._kernel.nodes, line, activity)

    def find(self, cpu: Cpu, index: int) -> Steps[int | None]:
        """The frame of page *index*, if it is there; it stays there while the caller's read section lasts."""
        cpu.work(self._kernel.cost.cache_lookup, PAGE_CACHE)
        yield from self._node(cpu, index).read(cpu, PAGE_CACHE)
        return self.frames.get(index)

    def commit(self, cpu: Cpu, index: int) -> Steps[int | None]:
        """`commit_on`: the frame of page *index*, made of zeros if it is a hole; None behind the end.

        Raises `OutOfMemory`.
        """
        kernel = self._kernel
        frame = yield from kernel.frames.allocate(cpu)
        yield from kernel.machine.memory.clear_page(cpu, kernel.frames.node(cpu, frame), frame)
        cpu.probe.frame_filled(cpu, frame, None)
        cpu.work(kernel.cost.cache_add, PAGE_CACHE)
        yield from self._lock.acquire(cpu)
        there = self.frames.get(index) if index < self.pages else None
        if there is None and index < self.pages:
            yield from self._node(cpu, index).store(cpu, PAGE_CACHE)
            self.frames[index] = there = frame
        yield from self._lock.release(cpu)
        if there != frame:
            kernel.frames.free(cpu, frame)
        return there

    def decommit(self, cpu: Cpu, indices: Sequence[int]) -> Steps[None]:
        """`decommit_pages`: these pages are no more the object's."""
        yield from self._lock.acquire(cpu)
        gone = []
        for index in sorted(indices):
            cpu.work(self._kernel.cost.cache_add, PAGE_CACHE)
            yield from self._node(cpu, index).store(cpu, PAGE_CACHE)
            gone.append(self.frames.pop(index))
        yield from self._lock.release(cpu)
        for frame in gone:
            self._kernel.frames.free(cpu, frame)

    def fill(self, cpu: Cpu) -> None:
        """All pages are there, in no time. Raises `OutOfMemory`."""
        frames = self._kernel.frames.take(cpu, self.pages)
        self.frames = dict(enumerate(frames))
        tell_filled(cpu, frames)

    def hold(self) -> None:
        """A call begins with it: until it calls `release`, the object stays, whatever others unmap."""
        self.users += 1

    def release(self, cpu: Cpu) -> None:
        """One mapping less, or a call that is over. Memory without a name goes with the last."""
        self.users -= 1
        if not self.users and not self.pager:
            frames, self.frames = self.frames, {}
            for frame in frames.values():
                self._kernel.frames.free(cpu, frame)
            self._kernel.vmos.pop(self)

    def references(self) -> Iterator[Reference]:
        for index, frame in self.frames.items():
            yield Reference(frame, f"{self.name}, page", index)

    def _node(self, cpu: Cpu, index: int) -> CacheLine:
        number = index // _NODE_PAGES
        line = self._nodes.get(number)
        if line is None:
            name = f"{self.name}: XArray node {number}"
            line = self._nodes[number] = self._kernel.machine.line(name, cpu.socket, owner=cpu.id)
        return line


class Vmos:
    """All objects of a kernel, as long as they have a name or a mapping."""

    def __init__(self, kernel: CortenKernel) -> None:
        self._kernel = kernel
        self._numbers = count(1)
        self._all: dict[Vmo, None] = {}

    def create(self, cpu: Cpu, title: str, pages: int, *, pager: bool) -> Vmo:
        """A new one with nothing but holes."""
        vmo = Vmo(self._kernel, cpu, f"{title} {next(self._numbers)}", pages, pager=pager)
        self._all[vmo] = None
        return vmo

    def pop(self, vmo: Vmo) -> None:
        """Nobody can reach *vmo* any more."""
        del self._all[vmo]

    def references(self) -> Iterator[Reference]:
        """The frames that objects own."""
        for vmo in self._all:
            yield from vmo.references()
