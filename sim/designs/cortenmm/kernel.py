"""The booted kernel: what all CortenMM processes share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from sim.designs.base import Kernel
from sim.designs.base_spec import DesignSpec
from sim.designs.cortenmm.frame_alloc import FrameAllocator
from sim.designs.cortenmm.metadata import MetadataArray
from sim.designs.cortenmm.mm import CortenMm
from sim.designs.cortenmm.pooled_frames import PooledFrames
from sim.designs.cortenmm.protocols import FreeTables
from sim.designs.cortenmm.space import ArtifactSpace, CortenSpace
from sim.designs.cortenmm.spec import CortenSpec, Costs
from sim.designs.cortenmm.swap import Swap
from sim.designs.cortenmm.truncate import fallocate, ftruncate
from sim.designs.cortenmm.va_alloc import GlobalAllocator, PerCoreAllocator, SearchedTables, VaAllocator
from sim.designs.cortenmm.vmo import Vmos
from sim.designs.rules import Rules
from sim.engine import Steps
from sim.engine.costs import at_clock, at_clocks
from sim.hardware import Cpu, Machine
from sim.mm import (
    SYSCALL,
    AddressSpace,
    ContextTable,
    CreateFile,
    Fallocate,
    File,
    Footprint,
    Ftruncate,
    Handlers,
    NodePolicy,
    OutOfMemory,
    PhysicalMemory,
    Reference,
    SwitchMm,
    make_allocator,
)
from sim.mm.invariants import structures_agree
from sim.quantities import PAGE_BYTES
from sim.sync import QueueNodes, Rcu, VisibleReaders


def _switch(kernel: CortenKernel, cpu: Cpu, asked: SwitchMm) -> Steps[None]:
    assert isinstance(asked.space, CortenMm)
    return kernel.contexts.switch(cpu, asked.space.tlb)


def _create_file(kernel: CortenKernel, cpu: Cpu, asked: CreateFile) -> Steps[File]:
    vmo = kernel.vmos.create(cpu, asked.title, asked.pages, pager=True)
    if asked.resident:
        try:
            vmo.fill(cpu)
        except OutOfMemory:
            kernel.vmos.pop(vmo)
            raise
    else:
        kernel.machine.entry.syscall(cpu, SYSCALL)
    return vmo
    yield


class CortenKernel(Kernel):
    """CortenMM of one variant on one machine."""

    __slots__ = (
        "_footprint",
        "arrays",
        "contexts",
        "cost",
        "frames",
        "machine",
        "nodes",
        "pooled",
        "rcu",
        "spec",
        "swap",
        "table_pool",
        "visible_readers",
        "vmos",
    )

    space: ClassVar[type[CortenMm]] = CortenSpace

    def __init__(self, machine: Machine, spec: DesignSpec) -> None:
        assert isinstance(spec, CortenSpec)
        self.machine = machine
        self.spec = spec
        clock = machine.spec.kernel_clock
        self.cost = at_clocks(spec.costs, clock, Costs.plain, machine.spec.plain_clock)
        self.nodes = QueueNodes(machine, "mcs")
        self.pooled = spec.page_allocator != "own"
        """Whether what is freed comes to its allocator later (`FrameAllocator.settle`)."""
        self.frames = self._make_frames()
        self._footprint = Footprint(self.frames.total * spec.bravo.frame_metadata)
        self.swap = None if spec.swap is None else Swap(self, spec.swap)
        if self.swap is not None:
            self.frames.on_free = self.swap.forget
        self.table_pool: list[list[int]] = [[] for _ in machine.cpus]
        self.arrays: dict[MetadataArray, None] | None = {} if spec.metadata == "array" else None
        self.vmos = Vmos(self)
        self.rcu = Rcu(machine, global_list=True, idle_counts=False)
        self.contexts = ContextTable(machine, asids=1)  # no PCID: a CR3 write drops what was loaded
        bravo = at_clock(spec.bravo, clock)
        self.visible_readers = VisibleReaders(
            machine, slots=bravo.slots, scan_line=bravo.scan_line, inhibit=bravo.inhibit
        )

    def _make_frames(self) -> FrameAllocator:
        machine, spec = self.machine, self.spec
        if spec.page_allocator == "own":
            return FrameAllocator(machine, spec, self.cost, self.nodes)
        pool = make_allocator(machine, spec.page_allocator, spec)
        return PooledFrames(machine, spec, self.cost, self.nodes, pool)

    @property
    def footprint(self) -> Footprint:
        return self._footprint

    def new_process(self, cpu: Cpu) -> CortenMm:
        return self.space(self, cpu)

    def note_switch(self, cpu: Cpu) -> Steps[None]:
        return self.rcu.quiescent(cpu)

    @property
    def memory(self) -> PhysicalMemory:
        return self.frames

    @property
    def rules(self) -> Rules:
        return Rules(
            tells_fills=True,
            knows_flags=True,
            alike=True,
            heap_gap=0,
            swaps=self.swap is not None,
            fork_copies_files=True,
        )

    def reclaim(self, cpu: Cpu) -> Steps[None]:
        if self.swap is not None:
            yield from self.swap.reclaim(cpu)

    def references(self) -> Iterator[Reference]:
        """The zeroed pages that are kept for tables, the tables that wait for a grace period, and the pages
        of files and shared memory."""
        for cpu, pool in enumerate(self.table_pool):
            for frame in pool:
                yield Reference(frame, "the table pool of cpu", cpu)
        for callback in self.rcu.callbacks():
            if isinstance(callback, FreeTables):
                for table in callback.tables:
                    yield Reference(table.frame, "a grace period for the table of page", table.base)
        for array in self.arrays or ():
            for frame in array.frames:
                yield Reference(frame, "metadata of the table of page", array.table.base)
        yield from self.vmos.references()
        if self.swap is not None:
            yield from self.swap.references()

    def verify(self, loaded: Mapping[AddressSpace, Sequence[Cpu]], held: Iterable[Reference] = ()) -> None:
        if self.swap is not None:
            structures_agree(self.swap.contradictions(loaded))
        super().verify(loaded, held)

    def new_frame(self, cpu: Cpu) -> Steps[int]:
        """A frame for somebody who is in no transaction: pages are taken away for it if none is left. Raises
        `OutOfMemory`."""
        while True:
            try:
                return (yield from self.frames.allocate(cpu))
            except OutOfMemory:
                if self.swap is None or not (yield from self.swap.reclaim(cpu)):
                    raise

    def free_array(self, cpu: Cpu, array: MetadataArray) -> None:
        """Its table is gone."""
        assert self.arrays is not None
        del self.arrays[array]
        self.footprint.add("metadata", -len(array.frames) * PAGE_BYTES)
        for frame in array.frames:
            self.frames.free(cpu, frame)

    def place_memory(self, policy: NodePolicy) -> None:
        self.frames.place(policy)

    def new_va_allocator(self) -> VaAllocator:
        """The virtual-address allocator of a new process."""
        if self.spec.source == "rfc":
            return SearchedTables(self.machine)
        if self.spec.va_allocator == "per-core":
            return PerCoreAllocator(self.machine, alloc=self.cost.va_alloc, scan=self.cost.va_scan)
        return GlobalAllocator(self.machine, self.nodes, alloc=self.cost.va_alloc)

    operations: ClassVar[Handlers] = {
        SwitchMm: _switch,
        CreateFile: _create_file,
        Fallocate: fallocate,
        Ftruncate: ftruncate,
    }


class ArtifactKernel(CortenKernel):
    """As the artifact has it."""

    __slots__ = ()

    space = ArtifactSpace


def kernel_of(spec: DesignSpec) -> type[CortenKernel]:
    """The kernel that a design file means."""
    assert isinstance(spec, CortenSpec)
    return ArtifactKernel if spec.source == "artifact" else CortenKernel
