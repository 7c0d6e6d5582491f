"""Flushes that ask only cpus of nodes whose tables have had what is flushed (numaPTE).

A cpu of another node cannot have walked to it. It is not told, so it is a generation behind, and the next
flush that it is told of is one of everything (arch/x86/mm/tlb.c flush_tlb_mm_node_range, read in
julianw1010/hydra-v4.17.0-fork at b1f46cd).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sim.engine import Steps
from sim.hardware import CacheLine, Cpu, Machine
from sim.mm import SynchronousFlush
from sim.mm.flush.ipi import Ways


class Sharers(Protocol):
    """Who has which tables."""

    def node_of(self, cpu: Cpu) -> int:
        """The node of *cpu*."""

    def nodes_of(self, pages: Sequence[int]) -> int:
        """The nodes that have a table with entries of *pages*, as bits."""


class SharersFlush(SynchronousFlush):
    """*_nodes* are those that a flush under way asks, by the cpu that does it."""

    __slots__ = ("_nodes", "_trees")

    def __init__(
        self,
        machine: Machine,
        generation_line: CacheLine,
        ways: Ways,
        trees: Sharers,
        *,
        mask: CacheLine | None = None,
    ) -> None:
        super().__init__(machine, generation_line, ways, mask=mask)
        self._trees = trees
        self._nodes: dict[Cpu, int] = {}

    def flush(
        self, cpu: Cpu, pages: Sequence[int], *, whole: bool = False, freed_tables: bool = False
    ) -> Steps[None]:
        """Ask those who have tables of *pages* now."""
        if whole:
            return super().flush(cpu, pages, whole=True, freed_tables=freed_tables)
        return self.flush_on(cpu, pages, self._trees.nodes_of(pages), freed_tables=freed_tables)

    def flush_on(self, cpu: Cpu, pages: Sequence[int], nodes: int, *, freed_tables: bool) -> Steps[None]:
        """Ask *nodes*, which had tables of *pages* when those were cleared."""
        self._nodes[cpu] = nodes
        return super().flush(cpu, pages, freed_tables=freed_tables)

    def _targets(self, cpu: Cpu, generation: int, *, lazy: bool) -> list[Cpu]:
        targets = super()._targets(cpu, generation, lazy=lazy)
        nodes = self._nodes.pop(cpu, None)
        if nodes is None:
            return targets
        return [other for other in targets if nodes >> self._trees.node_of(other) & 1]
