"""What the steps of a race touch: the model's lines, entries, TLBs, waits and VMAs tell a `Trace`.

Two steps of different actors *meet* if both touch the same thing and one of them writes it. Steps that do not
meet can be done in either order, and what comes of it is the same: `systematic` leaves one of the two out.

    lines       each access, by the name of the line: things of one name count as one
    entries     a slot of a page table, read or stored
    TLBs        a cpu's, looked into or changed; a frame that is freed is looked for in all of them
    waits       who parks, and who wakes him; who sleeps, by `Sleeper`
    interrupts  a cpu that takes one, or disables them
    VMAs        each field of a VMA; the index as a whole
    owners      how many a frame has
    structures  what is kept of a file, of swap, of flushes that are due, and addresses that are given away
    calls       an operation that begins or ends: the oracle asks which was first

It is done by editing the classes of the model while a race runs (`traced`), so that no other run pays for it,
and it works where the model is interpreted only.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sim.designs.cortenmm.swap import Swap as CortenSwap
from sim.designs.cortenmm.va_alloc import GlobalAllocator
from sim.designs.cortenmm.vmo import Vmo
from sim.designs.linux.cached_pages import CachedPages
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.swap_cache import Swap as LinuxSwap
from sim.designs.linux.vma import Vma
from sim.designs.linux.vma_indexes.base import VmaIndex
from sim.engine import Activity, Probe, Steps
from sim.engine.probe import CpuView
from sim.hardware import Cpu, Machine
from sim.hardware.line import LINE
from sim.hardware.line_kinds import LineHere
from sim.hardware.tlb import Tlb
from sim.mm import File, PageTablePage, SwapSlots, SynchronousFlush
from sim.mm.frame_table import FrameTable
from sim.sync.sleeper import Sleeper

Touched = dict[Hashable, bool]
"""What a step has touched, and whether it has written that."""


def meet(one: Touched, other: Touched) -> bool:
    """Whether the two steps cannot change places."""
    if len(one) > len(other):
        one, other = other, one
    return any(key in other and (write or other[key]) for key, write in one.items())


class Trace(Probe):
    """Keeps what the step under way touches, if that is *wanted*."""

    wanted = True

    def __init__(self) -> None:
        self.in_race = False
        self.touched: Touched = {}
        self._tlbs: dict[int, Hashable] = {}

    def knows(self, machine: Machine) -> None:
        """The TLBs of *machine* have names: they are the same in each run."""
        self._tlbs = {id(cpu.tlb): ("TLB", cpu.id) for cpu in machine.cpus}

    def begins(self) -> None:
        """A step begins."""
        self.touched = {}

    def touch(self, key: Hashable, write: bool) -> None:
        """The step touches *key*."""
        if write or key not in self.touched:
            self.touched[key] = write

    def operation_begins(self, cpu: CpuView, operation: object) -> None:
        self.touch("begins", True)
        self.touch("ends", False)

    def operation_ends(self, cpu: CpuView, operation: object) -> None:
        self.touch("begins", False)
        self.touch("ends", True)

    def frame_allocated(self, cpu: CpuView, frame: int, order: int) -> None:
        self.touch(("frame", frame), True)

    def frame_freed(self, cpu: CpuView, frame: int, order: int) -> None:
        self.touch(("frame", frame), True)
        for tlb in self._tlbs.values():
            self.touch(tlb, False)

    def touch_tlb(self, tlb: Tlb, write: bool) -> None:
        """The step looks into *tlb*, or changes it."""
        self.touch(self._tlbs.get(id(tlb)), write)

    def frame_filled(self, cpu: CpuView, frame: int, source: int | None) -> None:
        self.touch(("frame", frame), True)
        if source is not None:
            self.touch(("frame", source), False)


class _Entries(list[Any]):
    """The entries of a table, which tell."""

    key: Hashable
    trace: Trace

    def _touch(self, slot: Any, write: bool) -> None:
        if type(slot) is int:
            self.trace.touch((self.key, slot), write)
        else:
            for each in range(*slot.indices(len(self))):
                self.trace.touch((self.key, each), write)

    def __getitem__(self, slot: Any) -> Any:
        self._touch(slot, False)
        return super().__getitem__(slot)

    def __setitem__(self, slot: Any, entry: Any) -> None:
        self._touch(slot, True)
        super().__setitem__(slot, entry)


def _replaced(old: Any, new: Any) -> Callable[[], None]:
    """Put *new*, by (class, name), where *old* is; value: what takes it back."""
    kind, name = old
    before = kind.__dict__[name]
    setattr(kind, name, new)

    def back() -> None:
        setattr(kind, name, before)

    return back


@contextmanager
def traced(trace: Trace) -> Iterator[None]:
    """The model tells *trace* of what it touches, in all races from now on."""
    undo: list[Callable[[], None]] = []
    try:
        for edit in (_lines, _tables, _tlbs, _waits, _vmas, _frames, _structures):
            edit(trace, undo)
        yield
    finally:
        for each in reversed(undo):
            each()


@contextmanager
def listening(trace: Trace, machine: Machine, spaces: Sequence[Any]) -> Iterator[None]:
    """A race on *machine*: entries of tables tell. *spaces* has its address spaces, later also new ones."""

    def tables() -> Iterator[PageTablePage]:
        for space in spaces:
            for root in space.roots():
                yield from root.tables()

    trace.knows(machine)
    trace.in_race = True
    for table in tables():
        table.entries = table.entries
    try:
        yield
    finally:
        trace.in_race = False
        for table in tables():
            table.entries = list(table.entries)


def _lines(trace: Trace, undo: list[Callable[[], None]]) -> None:
    def write(self: LineHere, cpu: Cpu, activity: Activity = LINE, *, again: int = 0) -> Steps[None]:
        if not cpu.pending:
            cpu.work(1, activity)
        yield cpu.take_pending()
        trace.touch(self.name, True)
        cost = (1 + again) * self.fabric.rmw
        cpu.pay(cost, activity)
        if self._watchers:
            self._disturb(cpu, cost)

    def store(self: LineHere, cpu: Cpu, activity: Activity = LINE) -> Steps[None]:
        if not cpu.pending:
            cpu.work(1, activity)
        yield cpu.take_pending()
        trace.touch(self.name, True)
        cpu.pay(self.fabric.hit, activity)
        if self._watchers:
            self._disturb(cpu, self.fabric.hit)

    def read(self: LineHere, cpu: Cpu, activity: Activity = LINE) -> Steps[None]:
        if not cpu.pending:
            cpu.work(1, activity)
        yield cpu.take_pending()
        trace.touch(self.name, False)
        cpu.pay(self.fabric.hit, activity)

    def told(name: str, write: bool) -> Any:
        inner = LineHere.__dict__[name]

        def method(self: LineHere, *arguments: Any, **named: Any) -> Any:
            trace.touch(self.name, named.get("write", write))
            return inner(self, *arguments, **named)

        return method

    for name, method in (("write", write), ("store", store), ("read", read)):
        undo.append(_replaced((LineHere, name), method))
    # A walk asks `held_by`, and sets bits in the entry.
    undo += [
        _replaced((LineHere, name), told(name, True))
        for name in ("write_again", "came_along", "take_at_once", "take_between", "held_by")
    ]
    undo.append(_replaced((LineHere, "read_in_handler"), told("read_in_handler", False)))


def _tables(trace: Trace, undo: list[Callable[[], None]]) -> None:
    slot: Any = PageTablePage.__dict__["entries"]

    def put(self: PageTablePage, entries: list[Any]) -> None:
        if trace.in_race and type(entries) is not _Entries:
            told = _Entries(entries)
            told.key, told.trace = ("entries", self.level, self.base), trace
            run = getattr(self, "run", None)
            if run is not None and run.entries is entries:
                run.entries = told
            entries = told
        slot.__set__(self, entries)

    undo.append(_replaced((PageTablePage, "entries"), property(slot.__get__, put)))


def _tlbs(trace: Trace, undo: list[Callable[[], None]]) -> None:
    def told(name: str, write: bool) -> Any:
        inner = Tlb.__dict__[name]

        def method(self: Tlb, *arguments: Any, **named: Any) -> Any:
            trace.touch_tlb(self, write)
            return inner(self, *arguments, **named)

        return method

    undo += [_replaced((Tlb, name), told(name, True)) for name in ("fill", "invalidate", "flush", "load")]
    undo.append(_replaced((Tlb, "lookup"), told("lookup", False)))
    stale: Any = Tlb.__dict__["stale"]
    undo.append(_replaced((Tlb, "stale"), _field(trace, stale, "stale TLB")))


def _waits(trace: Trace, undo: list[Callable[[], None]]) -> None:
    def told(name: str, kind: str) -> Any:
        inner = Cpu.__dict__[name]

        def method(self: Cpu, *arguments: Any, **named: Any) -> Any:
            trace.touch((kind, f"cpu {self.id}"), True)
            return inner(self, *arguments, **named)

        return method

    undo += [_replaced((Cpu, name), told(name, "wait")) for name in ("poke", "wake")]
    undo += [
        _replaced((Cpu, name), told(name, "interrupts"))
        for name in ("interrupt", "disable_interrupts", "enable_interrupts")
    ]
    undo.append(_replaced((Cpu, "in_kernel_wait"), _field(trace, Cpu.__dict__["in_kernel_wait"], "idle")))
    undo += [
        _replaced((Sleeper, name), _field(trace, Sleeper.__dict__[name], f"sleeper {name}"))
        for name in ("woken", "on_rq", "leaving")
    ]


def _vmas(trace: Trace, undo: list[Callable[[], None]]) -> None:
    undo += [
        _replaced((Vma, name), _field(trace, Vma.__dict__[name], f"VMA {name}")) for name in Vma.__slots__
    ]
    starts: Any = VmaIndex.__dict__["_starts"]
    undo.append(_replaced((VmaIndex, "_starts"), _field(trace, starts, "VMA index")))

    def told(name: str) -> Any:
        inner = VmaIndex.__dict__[name]

        def method(self: VmaIndex, vma: Vma) -> Any:
            trace.touch("VMA index", True)
            return inner(self, vma)

        return method

    undo += [_replaced((VmaIndex, name), told(name)) for name in ("_list", "_unlist")]


def _frames(trace: Trace, undo: list[Callable[[], None]]) -> None:
    def told(name: str, write: bool) -> Any:
        inner = FrameTable.__dict__[name]

        def method(self: FrameTable, frame: int, *arguments: Any) -> Any:
            trace.touch(("owners", frame), write)
            return inner(self, frame, *arguments)

        return method

    undo += [_replaced((FrameTable, name), told(name, True)) for name in ("get", "put", "add")]
    undo.append(_replaced((FrameTable, "owners"), told("owners", False)))


VALUES: Sequence[tuple[type, Sequence[str]]] = (
    (LinuxMm, ("gathers", "flush_pending")),
    (File, ("pages",)),
    (GlobalAllocator, ("_next", "_end")),
    (PageTablePage, ("sharing", "stray")),
    (SynchronousFlush, ("generation",)),
)
"""Fields that are read, or get another value."""
HELD: Sequence[tuple[type, Sequence[str]]] = (
    (CachedPages, ("_singles",)),
    (Vmo, ("frames",)),
    (SwapSlots, ("users", "has_cache")),
    (LinuxSwap, ("frame_of", "slot_of", "dirty", "writeback")),
    (CortenSwap, ("frame_of", "slot_of", "_busy", "_true")),
)
"""Fields that hold a table: who asks for it may change it."""


def _structures(trace: Trace, undo: list[Callable[[], None]]) -> None:
    for kind, names in VALUES:
        undo += [
            _replaced((kind, name), _field(trace, kind.__dict__[name], f"{kind.__name__} {name}"))
            for name in names
        ]
    for kind, names in HELD:
        undo += [
            _replaced((kind, name), _field(trace, kind.__dict__[name], f"{kind.__name__} {name}", held=True))
            for name in names
        ]


def _field(trace: Trace, slot: Any, key: Hashable, *, held: bool = False) -> property:
    def get(self: Any) -> Any:
        trace.touch(key, held)
        return slot.__get__(self)

    def put(self: Any, value: Any) -> None:
        trace.touch(key, True)
        slot.__set__(self, value)

    return property(get, put)
