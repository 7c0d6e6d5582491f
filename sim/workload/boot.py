"""Boot a design's kernel on a machine, with the memory policy of a workload in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs import build
from sim.mm import FIRST_TOUCH, node_policy

if TYPE_CHECKING:
    from sim.designs import DesignSpec, Kernel
    from sim.hardware import Machine
    from sim.mm import MemoryPolicy


def boot(machine: Machine, design: DesignSpec, memory: MemoryPolicy) -> Kernel:
    """The kernel of *design*. Raises `ModelError` where it cannot place memory as *memory* says."""
    kernel = build(machine, design)
    if memory != FIRST_TOUCH:
        kernel.place_memory(node_policy(memory, machine.spec.topology))
    return kernel
