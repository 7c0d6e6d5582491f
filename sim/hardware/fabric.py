"""What all cache lines of a machine share: where cpus sit, and what a transfer between them costs.

Source: the costs are the machine file's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sim.engine import Engine
from sim.engine.costs import at_clock

if TYPE_CHECKING:
    from sim.engine.probe import Distance
    from sim.hardware.places import Places
    from sim.hardware.spec import MachineSpec


class Fabric:
    """What all lines of a machine share: distances, costs, the order of waiters. Cpu i sits at place i."""

    __slots__ = (
        "adjacent",
        "bit_of",
        "cluster_mask",
        "cluster_of",
        "core_mask",
        "core_of",
        "cross_cluster",
        "cross_socket",
        "cross_socket_contended",
        "dram",
        "engine",
        "heard",
        "heard_accesses",
        "heard_entries",
        "heard_guards",
        "here",
        "hit",
        "home_aware",
        "joins",
        "migratory",
        "next_look",
        "prefetch_ordered",
        "request",
        "rmw",
        "rule",
        "same_cluster",
        "seats",
        "shared_read",
        "shared_read_inside",
        "sibling",
        "socket_mask",
        "socket_of",
        "streak",
        "uniform",
        "vary",
        "via_home",
        "via_home_contended",
    )

    def __init__(self, engine: Engine, spec: MachineSpec, places: Places, here: Sequence[str] = ()) -> None:
        costs = at_clock(spec.coherence, spec.clock)
        self.engine = engine
        self.hit = costs.hit
        self.rmw = costs.rmw
        self.sibling = self.rmw if costs.sibling is None else costs.sibling
        self.same_cluster = costs.same_cluster
        self.cross_cluster = costs.cross_cluster
        self.cross_socket = costs.cross_socket
        self.via_home = self.cross_socket if costs.via_home is None else costs.via_home
        self.cross_socket_contended = int(self.cross_socket * costs.contended)
        self.via_home_contended = int(self.via_home * costs.contended)
        self.joins = costs.siblings_join and places.siblings
        self.request = costs.probe
        self.home_aware = costs.home_aware
        self.prefetch_ordered = costs.prefetch_ordered
        self.migratory = costs.migratory
        draw = engine.stream("line transfers").random
        least, width = 1 - costs.spread, 2 * costs.spread
        self.vary: Callable[[int], int] = (
            (lambda cost: int(cost * (least + width * draw()))) if width else (lambda cost: cost)
        )
        turn = 0 if costs.spin_turn is None else costs.spin_turn
        look = engine.stream("looks of spinners").random
        self.next_look: Callable[[], int] = (lambda: int(turn * look())) if turn else (lambda: 0)
        """How long it takes from some moment on until who spins on a line looks at it again (ps)."""
        self.shared_read = costs.shared_read
        self.shared_read_inside = costs.shared_read_inside
        self.adjacent = costs.adjacent_line
        self.dram = (spec.memory.local, spec.memory.remote)
        self.rule = costs.order.rule
        self.streak = costs.order.streak
        self.uniform = engine.stream("line order").random
        self.seats = places.seats
        self.here = here
        """Patterns: lines with such names are in every cache at once, for the question what would be if."""
        self.heard = engine.probe.hears("line_transfer")
        self.heard_accesses = engine.probe.hears("line_access", "line_accessed")
        self.heard_entries = engine.probe.hears("entry_access")
        self.heard_guards = engine.probe.hears("guarded_write")
        self.core_of = places.core_of
        self.cluster_of = places.cluster_of
        self.socket_of = places.socket_of
        self.bit_of = places.bit_of
        self.core_mask = places.core_mask
        self.cluster_mask = places.cluster_mask
        self.socket_mask = places.socket_mask

    def distance(self, cpu: int, other: int) -> Distance:
        """Where the cache of *other* is, seen from *cpu*."""
        if cpu == other:
            return "same cpu"
        if other < 0:
            return "memory"
        if self.core_of[cpu] == self.core_of[other]:
            return "same core"
        if self.cluster_of[cpu] == self.cluster_of[other]:
            return "same cluster"
        return "same socket" if self.socket_of[cpu] == self.socket_of[other] else "other socket"

    def between(self, cpu: int, other: int) -> int:
        """The mean cost of a transfer between the caches of two cpus."""
        if self.cluster_of[cpu] == self.cluster_of[other]:
            return self.sibling if self.core_of[cpu] == self.core_of[other] else self.same_cluster
        return self.cross_cluster if self.socket_of[cpu] == self.socket_of[other] else self.cross_socket
