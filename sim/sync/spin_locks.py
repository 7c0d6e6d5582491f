"""The spin locks of a kernel: plain qspinlocks, or NUMA-aware ones everywhere.

The patches of CNA change the slow path of qspinlock, so a kernel has all its spin locks in one way or the
other (CONFIG_NUMA_AWARE_SPINLOCKS, numa_spinlock). Which it is say the cpus' queue nodes, on which all wait.
"""

from __future__ import annotations

from sim.engine import Activity
from sim.hardware import CacheLine, Machine
from sim.sync.cna import CnaLock
from sim.sync.nodes import QueueNodes
from sim.sync.spin import QueuedSpinLock


class NumaAwareNodes(QueueNodes):
    """Queue nodes of a kernel whose spin locks prefer waiters of one node for *threshold* ps at a time."""

    __slots__ = ("threshold", "topology")

    def __init__(self, machine: Machine, name: str, threshold: int) -> None:
        super().__init__(machine, name)
        self.threshold = threshold
        self.topology = machine.spec.topology


def spin_lock(
    nodes: QueueNodes, line: CacheLine, activity: Activity, name: str | None = None
) -> QueuedSpinLock:
    """A spin lock on *line*, of the kind that *nodes* are for; it is called *name*, or as the line."""
    if isinstance(nodes, NumaAwareNodes):
        return CnaLock(nodes, line, activity, nodes.threshold, nodes.topology, name)
    return QueuedSpinLock(nodes, line, activity, name)
