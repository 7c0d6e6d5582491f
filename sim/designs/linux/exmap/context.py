"""An exmap of a process: its interfaces, its pool and where it is mapped (struct exmap_ctx)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sim.designs.linux.exmap.pool import Bundle, MemoryPool, references
from sim.engine import Activity, Steps
from sim.engine.costs import at_clock
from sim.hardware import CacheLine, Cpu
from sim.mm import SLOTS, PageTablePage, Present, Reference, slot_of
from sim.sync import Mutex

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm

LOCK_INTERFACE: Final = Activity("lock: exmap interface")

INTERFACES: Final = 256
"""Interfaces of an exmap, at most."""
WORDS: Final = 512
"""Request words of an interface: what fits into the page that it shares with its user."""


class Interface:
    """struct exmap_interface: a mutex, the page of request words in frame *words*, and a local bundle.

    Words are written by the user and read by the same thread in the kernel: nobody else looks at them.
    """

    __slots__ = ("bundle", "mutex", "words")

    def __init__(self, mutex: Mutex, words: int) -> None:
        self.mutex = mutex
        self.words = words
        self.bundle = Bundle()


class Exmap:
    """One exmap. It is *active* from its set-up until a part of it is unmapped.

    *unflushed* are frames that are in the pool, or have left it again, while TLBs may still show them where
    they were.
    """

    __slots__ = (
        "_unmapped",
        "active",
        "cost",
        "gives_early",
        "interfaces",
        "line",
        "mapped",
        "pool",
        "unflushed",
    )

    def __init__(self, mm: LinuxMm, cpu: Cpu) -> None:
        spec = mm.kernel.spec.exmap
        assert spec is not None
        self.cost = at_clock(spec.costs, mm.machine.spec.kernel_clock)
        self.gives_early = spec.give == "before-flush"
        self.line: CacheLine = mm.machine.line("exmap", cpu.socket, owner=cpu.id)
        self.interfaces: list[Interface] = []
        self._unmapped = Bundle()
        self.pool: MemoryPool | None = None
        self.active = False
        self.unflushed: dict[int, int] = {}
        self.mapped = False
        mm.kernel.exmaps.append(self)

    @property
    def bundles(self) -> list[Bundle]:
        """Those of all interfaces, and what has come back by unmapping."""
        return [self._unmapped, *(interface.bundle for interface in self.interfaces)]

    def owns(self, frame: int) -> bool:
        """Whether *frame* is one of its pool's, free or mapped."""
        return self.pool is not None and frame in self.pool.frames

    def is_out_early(self, frames: list[int]) -> None:
        """*frames* are in the pool, and a flush is still to come."""
        for frame in frames:
            self.unflushed[frame] = self.unflushed.get(frame, 0) + 1

    def is_flushed(self, frames: list[int]) -> None:
        """It has come."""
        for frame in frames:
            left = self.unflushed[frame] - 1
            if left:
                self.unflushed[frame] = left
            else:
                del self.unflushed[frame]

    # -- when it is unmapped --------------------------------------------------------------------------------

    def invalidate(self, mm: LinuxMm, cpu: Cpu, start: int, end: int) -> Steps[None]:
        """exmap_vma_cleanup, which the MMU notifier calls before [*start*, *end*) is zapped: nobody begins
        another call, and its pages go back to the pool.

        The module does it once only and flushes nothing; here each part that is unmapped is cleaned up, and
        flushed before its pages are free. It takes the mutexes of all interfaces too, and who is in FREE has
        one of them while he wants mmap_lock: the two could wait for each other. So nobody is waited for here,
        and who unmaps sees to it that no call is under way.
        """
        if self.pool is None:
            return
        yield from self.line.write(cpu, LOCK_INTERFACE)
        self.active = False
        cleared: list[int] = []
        page = start
        while page < end:
            table = mm.leaf_table(page)
            stop = min(end, page - page % SLOTS + SLOTS)
            if table is not None and table.present:
                for each, frame in _present(table, page, stop):
                    yield from table.line(slot_of(each, 1)).swap(cpu, LOCK_INTERFACE)
                    table.set(slot_of(each, 1), None)
                    cleared.append(frame)
            page = stop
        if cleared:
            yield from mm.tlb.flush(cpu, range(0), whole=True)
        for frame in cleared:
            yield from self.pool.push(cpu, self._unmapped, frame)

    def close(self, mm: LinuxMm, cpu: Cpu) -> Steps[None]:
        """vm_close: nothing of it is mapped any more, and no TLB has any of it."""
        self.mapped = False
        if self.pool is None:
            return
        mm.stat.add_at_once(files=-len(self.pool.frames))
        yield from self.pool.destroy(cpu, self.bundles)
        for interface in self.interfaces:
            yield from mm.pages.free(cpu, interface.words)
        self.interfaces, self.pool, self.active = [], None, False

    # -- the end state --------------------------------------------------------------------------------------

    def references(self) -> Iterator[Reference]:
        """The frames that no entry has."""
        if self.pool is not None:
            yield from references(self.pool.free_frames(self.bundles))
        for number, interface in enumerate(self.interfaces):
            yield Reference(interface.words, "the words of interface", number)

    def contradictions(self, mapped: set[int]) -> Iterator[str]:
        """Each frame of the pool is free or one of those that are *mapped*."""
        if self.pool is None:
            return
        free = list(self.pool.free_frames(self.bundles))
        if len(set(free)) != len(free):
            yield f"exmap's pool has {len(free)} free frames, {len(set(free))} of them different"
        lost = self.pool.frames - set(free) - mapped
        if lost:
            yield f"{len(lost)} frames of exmap's pool are neither free nor mapped, such as {min(lost)}"
        if self.unflushed:
            yield f"frame {min(self.unflushed)} was given to exmap's pool and never flushed"


def _present(table: PageTablePage, page: int, stop: int) -> list[tuple[int, int]]:
    """The pages of [*page*, *stop*) that are there, and their frames."""
    entries = [(each, table.get(slot_of(each, 1))) for each in range(page, stop)]
    return [(each, entry.frame) for each, entry in entries if isinstance(entry, Present)]
