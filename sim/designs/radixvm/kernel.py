"""The booted kernel: frames, Refcache, calls of other cores, and the processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from sim.designs.base import Kernel
from sim.designs.base_spec import DesignSpec
from sim.designs.radixvm.bare_tree import BareTree
from sim.designs.radixvm.frame_alloc import FrameAllocator
from sim.designs.radixvm.pooled_frames import PooledFrames
from sim.designs.radixvm.refcache import Counted, Refcache
from sim.designs.radixvm.space import RadixSpace
from sim.designs.radixvm.spec import RadixCosts, RadixSpec
from sim.designs.rules import Rules
from sim.engine import Steps
from sim.engine.costs import at_clocks
from sim.hardware import Cpu, Machine
from sim.mm import (
    AddressSpace,
    ContextTable,
    Footprint,
    Handlers,
    LookUp,
    PlaceRegions,
    Reference,
    SwitchMm,
    WriteRegion,
    make_allocator,
    make_calls,
)
from sim.mm.invariants import structures_agree


def _switch(kernel: RadixKernel, cpu: Cpu, asked: SwitchMm) -> Steps[None]:
    assert isinstance(asked.space, RadixSpace)
    return kernel.contexts.switch(cpu, asked.space.tlb)


def _place_regions(kernel: RadixKernel, cpu: Cpu, asked: PlaceRegions) -> Steps[None]:
    kernel.bare_tree = BareTree(kernel.machine, RadixSpace(kernel, cpu).tree, kernel.cost)
    return kernel.bare_tree.place(cpu, asked.regions)


def _look_up(kernel: RadixKernel, cpu: Cpu, asked: LookUp) -> Steps[bool]:
    assert kernel.bare_tree is not None
    return kernel.bare_tree.look_up(cpu, asked.page)


def _write_region(kernel: RadixKernel, cpu: Cpu, asked: WriteRegion) -> Steps[None]:
    assert kernel.bare_tree is not None
    return kernel.bare_tree.write(cpu, asked.at, asked.at + asked.pages)


class RadixKernel(Kernel):
    """sv6's memory management on one machine. *pause* is what a PAUSE takes, *ask* what the sender of a call
    executes for each core (ps)."""

    __slots__ = (
        "_footprint",
        "ask",
        "bare_tree",
        "calls",
        "contexts",
        "cost",
        "frames",
        "machine",
        "pause",
        "refcache",
        "spaces",
        "spec",
    )

    space: ClassVar[type[RadixSpace]] = RadixSpace

    def __init__(self, machine: Machine, spec: DesignSpec) -> None:
        assert isinstance(spec, RadixSpec)
        self.machine = machine
        self.spec = spec
        plain = machine.spec.plain_clock
        self.cost = at_clocks(spec.costs, machine.spec.kernel_clock, RadixCosts.plain, plain)
        self.pause = spec.pause.at(machine.spec.clock)
        self.ask = spec.flush.ask.at(plain)
        self.calls = make_calls(machine, spec.flush)
        self.frames = self._make_frames()
        self.refcache = Refcache(machine, spec.refcache, self.cost, self.frames)
        self.contexts = ContextTable(machine, spec.flush.asids)
        self._footprint = Footprint(self.frames.total * spec.refcache.descriptor)
        self.spaces: list[RadixSpace] = []
        self.bare_tree: BareTree | None = None
        """The tree of a process that nobody runs in, which a bench of an index works on."""

    def _make_frames(self) -> FrameAllocator:
        machine, spec = self.machine, self.spec
        if spec.page_allocator == "own":
            return FrameAllocator(machine, spec.frames, self.cost)
        pool = make_allocator(machine, spec.page_allocator, spec)
        return PooledFrames(machine, spec.frames, self.cost, pool)

    @property
    def footprint(self) -> Footprint:
        return self._footprint

    def new_process(self, cpu: Cpu) -> RadixSpace:
        made = self.space(self, cpu)
        self.spaces.append(made)
        return made

    @property
    def memory(self) -> FrameAllocator:
        return self.frames

    @property
    def rules(self) -> Rules:
        return Rules(
            tells_fills=True,
            knows_flags=True,
            holes_end_mprotect=True,
            dirty_bits=False,
            alike=True,
        )

    def references(self) -> Iterator[Reference]:
        """A frame's owner is its descriptor, whoever refers to that."""
        for frame in self.refcache.alive:
            yield Reference(frame, "the descriptor of frame", frame)
        trees = [space.tree for space in self.spaces]
        if self.bare_tree is not None:
            trees.append(self.bare_tree.tree)
        for tree in trees:
            for node in tree.nodes():
                yield Reference(node.frame, f"the L{node.level} node of page", node.base)

    def verify(self, loaded: Mapping[AddressSpace, Sequence[Cpu]], held: Iterable[Reference] = ()) -> None:
        super().verify(loaded, held)
        references: Counter[Counted] = Counter()
        for space in self.spaces:
            for _, _, desc in space.tree.values():
                if desc.counted is not None:
                    references[desc.counted] += 1
        structures_agree(self.refcache.contradictions(references))

    operations: ClassVar[Handlers] = {
        SwitchMm: _switch,
        PlaceRegions: _place_regions,
        LookUp: _look_up,
        WriteRegion: _write_region,
    }
