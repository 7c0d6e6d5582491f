"""LLFree over the memory of a machine: trees for each node, and what Linux does around them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine import Steps
from sim.engine.costs import at_clock
from sim.hardware import Cpu, Machine
from sim.mm.allocators.llfree.kernel_side import KernelSide
from sim.mm.allocators.llfree.trees import Trees
from sim.mm.allocators.pooled import NONE, Part, PooledAllocator

if TYPE_CHECKING:
    from sim.mm.allocators.spec import LlfreeSpec


class _InLinux(Trees):
    """Trees as a zone of Linux has them."""

    __slots__ = ("_kernel_side",)

    def __init__(self, machine: Machine, node: int, memory: range, home: int, spec: LlfreeSpec) -> None:
        clock = machine.spec.kernel_clock
        super().__init__(machine, node, memory, home, at_clock(spec, clock))
        assert spec.linux is not None
        self._kernel_side = KernelSide(machine, node, home, at_clock(spec.linux, clock))

    def get(self, cpu: Cpu, order: int) -> Steps[int]:
        yield from self._kernel_side.before_get(cpu)
        frame = yield from super().get(cpu, order)
        if frame != NONE:
            yield from self._kernel_side.after_get(cpu, frame, order)
        return frame

    def put(self, cpu: Cpu, frame: int, order: int) -> Steps[None]:
        self._kernel_side.before_put(cpu, frame, order)
        yield from super().put(cpu, frame, order)
        yield from self._kernel_side.after_put(cpu, order)


class Llfree(PooledAllocator):
    """LLFree."""

    __slots__ = ("_spec",)

    def __init__(self, machine: Machine, spec: LlfreeSpec) -> None:
        self._spec = spec
        super().__init__(machine)

    def make_part(self, machine: Machine, node: int, memory: range, home: int) -> Part:
        if self._spec.linux is not None:
            return _InLinux(machine, node, memory, home, self._spec)
        return Trees(machine, node, memory, home, at_clock(self._spec, machine.spec.kernel_clock))
