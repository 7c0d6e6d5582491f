"""Pinning: thread i runs on the i-th cpu of an order, which a policy makes from the topology.

Two sockets of two cores with two siblings each, as Linux numbers them (cpus 0-3 are the cores' first threads,
4-7 their siblings):

                 socket 0          socket 1
    cpus         0,4   1,5         2,6   3,7
    cores-first       0 1 2 3 4 5 6 7
    fill-socket       0 1 4 5 2 3 6 7
    siblings-first    0 4 1 5 2 6 3 7
    alternate-nodes   0 2 1 3 4 6 5 7
    socket-by-socket  0 1 2 3 4 5 6 7
"""

from __future__ import annotations

from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, NonNegativeInt
from pydantic_core import PydanticKnownError

if TYPE_CHECKING:
    from sim.hardware import Topology


Policy = Literal["cores-first", "fill-socket", "siblings-first", "alternate-nodes", "socket-by-socket"]
POLICIES: tuple[str, ...] = get_args(Policy)


def _numbers_once(value: Any) -> Any:
    if isinstance(value, str):
        if value not in POLICIES:
            raise PydanticKnownError("literal_error", {"expected": ", ".join(POLICIES)})
        return value
    if not isinstance(value, list | tuple) or not value:
        raise ValueError("must be the name of a policy or a list of cpu numbers")
    for index, number in enumerate(value):
        if type(number) is not int or number < 0:
            raise ValueError(f"a cpu number is a whole number from 0 on, not {number!r}")
        if number in value[:index]:
            raise ValueError(f"cpu {number} is listed twice: a cpu takes one thread")
    return tuple(value)


Pinning = Annotated[Policy | tuple[NonNegativeInt, ...], BeforeValidator(_numbers_once)]
"""`cores-first`: by number, so a thread a core before any sibling, and as the firmware counts the cores, as a
rule socket by socket. `fill-socket`: a socket's cores, their siblings, then the next socket.
`siblings-first`: both siblings of a core, then the next core. `alternate-nodes`: one NUMA node of the
hardware after another, in each as `fill-socket`. `socket-by-socket`: the cores of one socket, then those of
the next, however they are numbered, siblings last: so hwloc counts and will-it-scale binds tasks. Or a list
of cpu numbers."""


def order_of(pinning: Pinning, topology: Topology) -> list[int]:
    """The numbers of cpus in the order in which threads take them."""
    cpus, cores = range(topology.cpus), topology.cores
    if not isinstance(pinning, str):
        return list(pinning)
    if pinning == "cores-first":
        return list(cpus)
    if pinning == "socket-by-socket":
        return sorted(cpus, key=lambda cpu: (cpu // cores, topology.core_of(cpu)))
    if pinning == "siblings-first":
        return sorted(cpus, key=lambda cpu: (topology.core_of(cpu), cpu))
    inside = sorted(cpus, key=lambda cpu: (topology.socket_of(cpu), cpu // cores, topology.core_of(cpu)))
    if pinning == "fill-socket":
        return inside
    nodes = [[cpu for cpu in inside if topology.node_of(cpu) == node] for node in range(topology.nodes)]
    return [cpu for cpu in chain.from_iterable(zip_longest(*nodes)) if cpu is not None]
