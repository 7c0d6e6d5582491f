"""What every design is: a spec read from its YAML file, a kernel built from it, and its processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from mypy_extensions import mypyc_attr

from sim.designs.base_spec import DesignSpec
from sim.designs.rules import Rules
from sim.engine import Steps
from sim.errors import ModelError
from sim.hardware import Cpu, Machine
from sim.mm import AddressSpace, Footprint, NodePolicy, Operation, Performer, PhysicalMemory, Reference
from sim.mm.invariants import check
from sim.mm.performer import offered


class GracePeriods(Protocol):
    """The grace periods of a kernel's RCU, as a window that holds whole ones knows them."""

    on_period: Callable[[], None] | None
    """Told that a period has just ended."""

    called: int
    """Callbacks that have been queued since the kernel was booted."""

    @property
    def under_way(self) -> bool:
        """Whether callbacks wait for the end of a period."""
        ...

    @property
    def backlog(self) -> int:
        """Callbacks that have not run yet, on all cpus."""
        ...

    def hasten(self) -> None:
        """Let the period under way end as soon as nobody holds it up."""
        ...


@mypyc_attr(allow_interpreted_subclasses=True)
class Kernel(Performer):
    """A booted kernel of some design: machine-wide state (allocators, locks) and its processes.

    *space* is the class of its processes, None where it has none. Its own *operations* concern no single
    process.
    """

    __slots__ = ()

    space: ClassVar[type[AddressSpace] | None] = None

    def __init__(self, machine: Machine, spec: DesignSpec) -> None:
        raise NotImplementedError

    @property
    def footprint(self) -> Footprint | None:
        """What it has of memory for itself; None where nobody counts it."""
        return None

    def new_process(self, cpu: Cpu) -> AddressSpace:
        """A process with an empty address space, made by a thread on *cpu*. Its class is *space*."""
        raise ModelError(f"{type(self).__name__} has no processes")

    def note_switch(self, cpu: Cpu) -> Steps[None]:
        """The thread on *cpu* gives it to another (rcu_note_context_switch)."""
        return
        yield

    @property
    def grace_periods(self) -> GracePeriods | None:
        """Those after which it frees what its callers let go; None where a run does not depend on them."""
        return None

    @property
    def memory(self) -> PhysicalMemory | None:
        """The allocator of its frames; None where frames are numbers that nobody allocates."""
        return None

    @property
    def rules(self) -> Rules:
        """What it does in one way where others do it in another, for who holds it against a model."""
        return Rules()

    def reclaim(self, cpu: Cpu) -> Steps[None]:
        """Take pages away from whoever has them, as if *cpu* had found no memory. Nothing without swap."""
        return
        yield

    def references(self) -> Iterable[Reference]:
        """The frames that its own pools have, beside those of processes and of the allocator."""
        return ()

    def verify(self, loaded: Mapping[AddressSpace, Sequence[Cpu]], held: Iterable[Reference] = ()) -> None:
        """No thread runs: hold the end state against all invariants. Raises `BrokenInvariant`.

        *loaded* are all processes, each with the cpus that have it loaded; *held* are the blocks that callers
        of `AllocatePages` have not given back.
        """
        check(self.memory, loaded, [*self.references(), *held])

    def place_memory(self, policy: NodePolicy) -> None:
        """From now on take pages from the nodes that *policy* chooses, before any process is made.

        Not called for first touch, which is what a kernel does by itself. A kernel that has no such method
        of its own cannot place memory.
        """
        raise ModelError("this design cannot place memory: leave `memory` out")


@dataclass(frozen=True)
class Family:
    """One design package: the model of its files and the kernel that one of them means.

    *kernel* is a class that takes the machine and the spec, or a function from a spec to such a class.
    """

    name: str
    spec: type[DesignSpec]
    kernel: type[Kernel] | Callable[[DesignSpec], type[Kernel]]

    def build(self, machine: Machine, spec: DesignSpec) -> Kernel:
        """Boot the kernel of *spec* on *machine*."""
        return self._class_of(spec)(machine, spec)

    def operations(self, spec: DesignSpec) -> frozenset[type[Operation]]:
        """What the design of *spec* offers: what its kernel and its processes have handlers for."""
        kernel = self._class_of(spec)
        return frozenset(offered(kernel)) | frozenset(offered(kernel.space) if kernel.space else ())

    def places_memory(self, spec: DesignSpec) -> bool:
        """Whether the design of *spec* can take pages from the nodes that a workload chooses."""
        return self._class_of(spec).place_memory is not Kernel.place_memory

    def _class_of(self, spec: DesignSpec) -> type[Kernel]:
        return self.kernel if isinstance(self.kernel, type) else self.kernel(spec)
