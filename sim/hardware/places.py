"""Where the cpus of a machine sit: tables that follow from its topology alone.

They are the same for all machines of one topology whose cpus come in the same order, and nobody writes to
them, so a process makes them once: a point of one thread builds 32 such machines.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sim.hardware.topology import Topology

_REMEMBERED: Final = 32
"""Orders of cpus that are kept: more than a run has pinnings and machines, of 100 KiB each at most."""


class Places:
    """The seat of each cpu, by its number among those of the kernel, and what follows from the seats.

    Masks are the bit sets of the cpus on a cpu's core, in its cluster and in its socket; *bit_of* is its own.
    """

    __slots__ = (
        "bit_of",
        "cluster_mask",
        "cluster_of",
        "core_mask",
        "core_of",
        "seats",
        "siblings",
        "socket_mask",
        "socket_of",
    )

    def __init__(self, topology: Topology, order: Sequence[int]) -> None:
        self.seats = [topology.seat(number) for number in order]
        self.core_of = [seat.core for seat in self.seats]
        self.cluster_of = [seat.cluster for seat in self.seats]
        self.socket_of = [seat.socket for seat in self.seats]
        self.bit_of = [1 << cpu for cpu in range(len(self.seats))]
        self.core_mask = _masks(self.core_of)
        self.cluster_mask = _masks(self.cluster_of)
        self.socket_mask = _masks(self.socket_of)
        self.siblings = len(set(self.core_of)) < len(self.seats)
        """Whether any two of the cpus share a core."""


def places_of(topology: Topology, order: Sequence[int]) -> Places:
    """The places of the cpus with the numbers *order*, in that order; shared by all who ask."""
    return _places_of(topology, tuple(order))


@lru_cache(maxsize=_REMEMBERED)
def _places_of(topology: Topology, order: tuple[int, ...]) -> Places:
    return Places(topology, order)


def _masks(group_of: list[int]) -> list[int]:
    """For each cpu the bit set of its group."""
    members: dict[int, int] = {}
    for cpu, group in enumerate(group_of):
        members[group] = members.get(group, 0) | 1 << cpu
    return [members[group] for group in group_of]
