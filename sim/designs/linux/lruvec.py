"""struct lruvec: the lists of one node's pages, and the lock that whoever changes them holds (6.13)."""

from __future__ import annotations

from typing import Final

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.sync import QueueNodes, spin_lock

LOCK_LRU: Final = Activity("lock: lru")


class Lruvec:
    """Two lines beside the lock's: heads and sizes of the lists."""

    __slots__ = ("_lists", "_lock")

    def __init__(self, machine: Machine, index: int, nodes: QueueNodes) -> None:
        topology = machine.spec.topology
        home = index * topology.sockets // topology.numa_nodes
        self._lock = spin_lock(nodes, machine.line(f"lruvec {index} lock", home), LOCK_LRU)
        self._lists = machine.line(f"lruvec {index} lists", home, lines=2)

    def lock(self, cpu: Cpu) -> Steps[None]:
        """folio_lruvec_lock_irqsave, and the lists come to *cpu*."""
        if cpu.pending:
            yield cpu.take_pending()
        cpu.disable_interrupts()
        yield from self._lock.acquire(cpu)
        yield from self._lists.write(cpu, LOCK_LRU)

    def unlock(self, cpu: Cpu) -> Steps[None]:
        """unlock_page_lruvec_irqrestore."""
        yield from self._lock.release(cpu)
        cpu.enable_interrupts()
