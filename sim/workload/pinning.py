"""Pinning: thread i runs on the i-th cpu of an order, which a policy makes from the topology.

Two sockets of two cores with two siblings each, with both ways in which machines number them
(`topology.numbering`):

                      siblings-last             siblings-adjacent
                 socket 0    socket 1        socket 0    socket 1
    cpus         0,4  1,5    2,6  3,7        0,1  2,3    4,5  6,7
    cores-first       0 1 2 3 4 5 6 7             0 2 4 6 1 3 5 7
    hwloc-cores       0 1 2 3 4 5 6 7             0 2 4 6 1 3 5 7
    fill-socket       0 1 4 5 2 3 6 7             0 2 1 3 4 6 5 7
    siblings-first    0 4 1 5 2 6 3 7             0 1 2 3 4 5 6 7
    alternate-nodes   0 2 1 3 4 6 5 7             0 4 2 6 1 5 3 7

    {per_socket: 1}   0 2                         0 4
    {per_socket: 3}   0 1 4 2 3 6                 0 2 1 4 6 5

`hwloc-cores` differs from `cores-first` where the firmware interleaves cores: hwloc counts them socket by
socket.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, NonNegativeInt, PositiveInt
from pydantic_core import PydanticKnownError

from sim.quantities import Spec

if TYPE_CHECKING:
    from sim.hardware import Topology


Policy = Literal["cores-first", "hwloc-cores", "fill-socket", "siblings-first", "alternate-nodes"]
POLICIES: tuple[str, ...] = get_args(Policy)


class PerSocket(Spec):
    """So many cpus of each socket, those of the first one first; no others are there."""

    per_socket: PositiveInt
    """How many: its cores before any sibling."""


def _numbers_once(value: Any) -> Any:
    if isinstance(value, dict | PerSocket):
        return value
    if isinstance(value, str):
        if value not in POLICIES:
            raise PydanticKnownError("literal_error", {"expected": ", ".join(POLICIES)})
        return value
    if not isinstance(value, list | tuple) or not value:
        raise ValueError("must be the name of a policy, per_socket with a number, or a list of cpu numbers")
    for index, number in enumerate(value):
        if type(number) is not int or number < 0:
            raise ValueError(f"a cpu number is a whole number from 0 on, not {number!r}")
        if number in value[:index]:
            raise ValueError(f"cpu {number} is listed twice: a cpu takes one thread")
    return tuple(value)


Pinning = Annotated[Policy | PerSocket | tuple[NonNegativeInt, ...], BeforeValidator(_numbers_once)]
"""`cores-first`: a thread a core before any sibling, the cores as the firmware counts them, as a rule socket
by socket. `hwloc-cores`: the same, the cores always socket by socket, as will-it-scale binds its tasks.
`fill-socket`: a socket's cores, their siblings, then the next socket.
`siblings-first`: both siblings of a core, then the next core. `alternate-nodes`: one NUMA node of the
hardware after another, in each as `fill-socket`. `per_socket`: so many cpus of each socket. Or a list of cpu
numbers."""


def order_of(pinning: Pinning, topology: Topology) -> list[int]:
    """The numbers of cpus in the order in which threads take them; the list is the caller's.

    `hwloc-cores` is main.c of will-it-scale (75f66e4, without -m): task i is bound to hwloc's core i modulo
    their number, a core with all its threads. hwloc counts cores socket by socket. The kernel chooses among
    the threads of the core; here the second round takes the second ones.
    """
    return list(pinning) if isinstance(pinning, tuple) else list(_order_of(pinning, topology))


@lru_cache(maxsize=32)
def _order_of(pinning: Policy | PerSocket, topology: Topology) -> list[int]:
    """`order_of` by a policy: worked out once a process, for it takes longer than what it is used for."""
    cpus, core_of, thread_of = range(topology.cpus), topology.core_of, topology.thread_of
    if pinning == "cores-first":
        return sorted(cpus, key=lambda cpu: (thread_of(cpu), cpu))
    if pinning == "hwloc-cores":
        return sorted(cpus, key=lambda cpu: (thread_of(cpu), core_of(cpu)))
    if pinning == "siblings-first":
        return sorted(cpus, key=lambda cpu: (core_of(cpu), cpu))
    inside = sorted(cpus, key=lambda cpu: (topology.socket_of(cpu), thread_of(cpu), core_of(cpu)))
    if pinning == "fill-socket":
        return inside
    if isinstance(pinning, PerSocket):
        sockets = [[cpu for cpu in inside if topology.socket_of(cpu) == s] for s in range(topology.sockets)]
        return [cpu for socket in sockets for cpu in socket[: pinning.per_socket]]
    nodes = [[cpu for cpu in inside if topology.node_of(cpu) == node] for node in range(topology.nodes)]
    return [cpu for cpu in chain.from_iterable(zip_longest(*nodes)) if cpu is not None]
