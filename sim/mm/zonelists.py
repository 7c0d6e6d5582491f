"""In which order a kernel asks other nodes when one is full: Linux's zone lists (mm/page_alloc.c, 6.13).

A node's list begins with the node itself and goes on with the others, nearest first. Of equally near ones
those with a higher number than its own come first; of these the one that heads its group in the fewest
lists so far, so that the nodes of a group do not all spill into the same one (build_zonelists and
find_next_best_node; loads add up over the lists since 5.16, commit 54d032ced983). All nodes here have
memory and cpus, so Linux's preference for nodes without cpus never decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.hardware import MachineSpec

LOCAL_DISTANCE: Final = 10
_MAX_DISTANCE: Final = 254


def distances(spec: MachineSpec, nodes: int) -> list[list[int]]:
    """What the firmware's table (SLIT) says of each pair of *nodes*, which hold equal parts of the memory.

    That is the memory's latency, where the local one is 10. Only a node itself may be at 10: Linux refuses a
    table that puts another one there (slit_valid).
    """
    memory, sockets = spec.memory, spec.topology.sockets
    same_socket = memory.local_other_node or memory.local

    def distance(here: int, there: int) -> int:
        if here == there:
            return LOCAL_DISTANCE
        latency = same_socket if here * sockets // nodes == there * sockets // nodes else memory.remote
        return min(max(round(LOCAL_DISTANCE * latency / memory.local), LOCAL_DISTANCE + 1), _MAX_DISTANCE)

    return [[distance(here, there) for there in range(nodes)] for here in range(nodes)]


def zonelists(distance: Sequence[Sequence[int]]) -> list[list[int]]:
    """The list of each node, for the *distance* of each from each."""
    load = [0] * len(distance)
    lists = []
    for local, row in enumerate(distance):
        order = [local]
        others = [node for node in range(len(row)) if node != local]
        while others:
            best = min(others, key=lambda node: (row[node] + (node < local), load[node]))
            if row[best] != row[order[-1]]:  # the first of its group in this list
                load[best] += 1
            others.remove(best)
            order.append(best)
        lists.append(order)
    return lists
