"""Which node's memory a thread gets: the memory policies of Linux (mm/mempolicy.c), for any design.

A policy belongs to the process and covers all that its threads allocate by pages, data and page tables alike
(alloc_pages asks the policy of the calling task). Nodes are those that the kernel sees.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, ClassVar, Protocol

from sim.mm.policy_spec import Bind, MemoryPolicy

if TYPE_CHECKING:
    from sim.hardware import Cpu, Topology


class NodePolicy(Protocol):
    """Says which node the next page of the thread on *cpu* comes from, and whether another may stand in."""

    strict: ClassVar[bool]
    """The page comes from that node or from none: the policy has a nodemask (policy_nodemask)."""
    steady: ClassVar[bool]
    """The next page of that cpu comes from the same node."""

    def node(self, cpu: Cpu) -> int: ...


class FirstTouch:
    """MPOL_LOCAL, the default: the node of the cpu that asks."""

    __slots__ = ("_visible",)

    strict: ClassVar[bool] = False
    steady: ClassVar[bool] = True

    def __init__(self, topology: Topology) -> None:
        self._visible = [topology.visible_node(node) for node in range(topology.nodes)]

    def node(self, cpu: Cpu) -> int:
        return self._visible[cpu.node]


class Interleave:
    """MPOL_INTERLEAVE: each thread takes one node after another (interleave_nodes, from node 0 on).

    It chooses where the search begins and no more: when that node is full its zone list goes on.
    """

    __slots__ = ("_next", "_nodes")

    strict: ClassVar[bool] = False
    steady: ClassVar[bool] = False

    def __init__(self, topology: Topology) -> None:
        self._nodes = topology.numa_nodes
        self._next: defaultdict[int, int] = defaultdict(int)

    def node(self, cpu: Cpu) -> int:
        node = self._next[cpu.id]
        self._next[cpu.id] = (node + 1) % self._nodes
        return node


class OneNode:
    """MPOL_BIND to a single node."""

    __slots__ = ("_node",)

    strict: ClassVar[bool] = True
    steady: ClassVar[bool] = True

    def __init__(self, node: int) -> None:
        self._node = node

    def node(self, cpu: Cpu) -> int:
        return self._node


def node_policy(policy: MemoryPolicy, topology: Topology) -> NodePolicy:
    """What a workload's *policy* comes to on a machine."""
    if isinstance(policy, Bind):
        return OneNode(policy.bind)
    return Interleave(topology) if policy == "interleave" else FirstTouch(topology)
