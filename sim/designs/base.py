"""What every design offers: a spec read from its YAML file and a kernel built from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sim.engine import Steps
from sim.errors import ModelError
from sim.hardware import Cpu, Machine, MachineSpec, Spec
from sim.mm import AddressSpace, NodePolicy

Offer = Literal[
    "processes", "placed memory", "address spaces", "discards", "shootdowns of its own", "page allocator"
]
"""Threads with stacks that map memory; a `memory` policy other than first touch; the rest is for benches:
regions to touch, MADV_DONTNEED in them, flushes and switches that the bench asks for, blocks of pages."""


class DesignSpec(Spec):
    """The part that all design files share. *family* names the package that builds the design."""

    name: str
    """The file's name without `.yaml`."""
    title: str
    """One line for lists and figures."""
    family: str
    """The package that builds the design, such as `linux` or `cortenmm`."""

    def refuses(self, machine: MachineSpec) -> str | None:
        """Why the design cannot run on *machine*, if so."""
        return None

    @property
    def offers(self) -> frozenset[Offer]:
        """What workloads may ask of it."""
        return frozenset({"processes", "address spaces"})


class Kernel(ABC):
    """A booted kernel of some design: machine-wide state (allocators, locks) and its processes."""

    @abstractmethod
    def new_process(self, cpu: Cpu) -> AddressSpace:
        """A process with an empty address space, made by a thread on *cpu*."""

    def place_memory(self, policy: NodePolicy) -> None:
        """From now on take pages from the nodes that *policy* chooses, before any process is made.

        Not called for first touch, which is what a kernel does by itself.
        """
        raise ModelError("this design cannot place memory: leave `memory` out")

    def allocate_pages(self, cpu: Cpu, order: int) -> Steps[int]:
        """A block of 2**order pages from the kernel's own allocator; value: its first frame."""
        raise ModelError("this design offers no page allocator to benches")
        yield

    def free_pages(self, cpu: Cpu, frame: int, order: int) -> Steps[None]:
        """Give such a block back."""
        raise ModelError("this design offers no page allocator to benches")
        yield

    def switch(self, cpu: Cpu, space: AddressSpace) -> Steps[None]:
        """Let *cpu* leave its address space for *space*."""
        raise ModelError("this design does not let benches switch address spaces")
        yield

    def shoot_down(
        self, cpu: Cpu, space: AddressSpace, pages: Sequence[int], holders: Iterable[Cpu] | None
    ) -> Steps[None]:
        """Flush *pages* of *space* on all cpus that run it, or on *cpu* and *holders*, its only users."""
        raise ModelError("this design does not let benches flush TLBs")
        yield


@dataclass(frozen=True)
class Family:
    """One design package: the model of its files and how to build a kernel from one."""

    name: str
    spec: type[DesignSpec]
    build: Callable[[Machine, DesignSpec], Kernel]
