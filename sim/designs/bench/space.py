"""An address space with nothing but what a TLB needs: a page table, and flushing of Linux's kind."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import ClassVar, Final

from sim.engine import Steps
from sim.errors import ModelError
from sim.hardware import Cpu, Machine
from sim.mm import (
    PAGE_TABLE,
    PAGES_PER_ENTRY,
    READ_WRITE,
    AddressSpace,
    Calls,
    ContextTable,
    FlushSpec,
    Handlers,
    Mapped,
    Mmap,
    PageTablePage,
    Present,
    Rights,
    SegmentationFault,
    Shootdown,
    TrackedFlush,
    make_flush,
    new_root,
    slot_of,
)

_FIRST_PAGE: Final = PAGES_PER_ENTRY[4]
"""The lowest page that is mapped: 512 GiB above 0."""


def _mmap(space: BareSpace, cpu: Cpu, asked: Mmap) -> Steps[int]:
    if asked.at is not None:
        raise ModelError("a bare address space chooses its addresses itself")
    at, space._next = space._next, space._next + asked.pages
    return at
    yield


def _shoot_down(space: BareSpace, cpu: Cpu, asked: Shootdown) -> Steps[None]:
    for page in asked.pages:
        space.root.deepest(page).set(slot_of(page, 1), Present(next(space._frames), READ_WRITE))
    holders = asked.holders
    if holders is None and space._knows_holders:
        holders = [other for other in space.tlb.loaded_on if other is not cpu]
    if holders is None:
        yield from space.tlb.flush(cpu, asked.pages)
    else:
        yield from space._tracked.flush(cpu, asked.pages, holders)


class BareSpace(AddressSpace):
    """Memory that is there: a fault only stores the entry. Frames are numbers that nobody else has.

    Flushing a page gives it a new frame first, as freeing and touching it again would, so that a translation
    which survives the flush is wrong and is found.
    """

    __slots__ = (
        "_contexts",
        "_frames",
        "_knows_holders",
        "_next",
        "_tracked",
        "tlb",
    )

    def __init__(
        self,
        machine: Machine,
        cpu: Cpu,
        spec: FlushSpec,
        calls: Calls,
        frames: count[int],
        contexts: ContextTable,
    ) -> None:
        super().__init__(machine)
        self.root = new_root(machine, cpu.socket, cpu.id)
        self.tlb = make_flush(machine, machine.line("tlb_gen", cpu.socket, owner=cpu.id), spec)
        self._knows_holders = spec.calls == "sv6"
        self._tracked = TrackedFlush(
            machine,
            calls,
            own_first=self._knows_holders,
            code=spec.ask.at(machine.spec.plain_clock) if self._knows_holders else 0,
        )
        self._frames = frames
        self._contexts = contexts
        self._next = _FIRST_PAGE

    def activate(self, cpu: Cpu) -> None:
        self._contexts.activate(cpu, self.tlb)

    def asid_left_on(self, cpu: Cpu) -> int | None:
        return self._contexts.asid_of(cpu, self.tlb)

    def node_of(self, cpu: Cpu, frame: int) -> int:
        """Frames are numbers: each is where it is used."""
        return cpu.node

    def status(self, page: int) -> Rights | None:
        return READ_WRITE if _FIRST_PAGE <= page < self._next else None

    def mappings(self) -> Iterator[Mapped]:
        if self._next > _FIRST_PAGE:
            yield Mapped(_FIRST_PAGE, self._next, READ_WRITE)

    def fault(self, cpu: Cpu, page: int, write: bool) -> Steps[None]:
        if page >= self._next:
            raise SegmentationFault(f"{cpu} touched page {page:#x}, which is not mapped")
        table = self.root.deepest(page)
        while table.level > 1:
            child = PageTablePage(self.machine, table.level - 1, page, -1, cpu.socket, maker=cpu.id)
            table.set(slot_of(page, table.level), child)
            table = child
        slot = slot_of(page, 1)
        yield from table.line(slot).store(cpu, PAGE_TABLE)
        if table.get(slot) is None:
            table.set(slot, Present(next(self._frames), READ_WRITE))

    operations: ClassVar[Handlers] = {Mmap: _mmap, Shootdown: _shoot_down}
