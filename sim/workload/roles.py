"""Which thread takes which role, and on which cpu it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim.workload.pinning import order_of

if TYPE_CHECKING:
    from sim.hardware import Topology
    from sim.workload.plan import WorkloadPlan


def roles_of(plan: WorkloadPlan, threads: int) -> list[int | None]:
    """The number of each thread's role: the first that fits. None for a thread that none fits."""
    roles, taken = [part.role for part in plan.parts], Counter[int]()
    if len(roles) == 1 and roles[0].who == "all":
        return [0] * threads  # as in most workloads, and asked for a dozen times a point
    found: list[int | None] = []
    for thread in range(threads):
        fitting = (number for number, role in enumerate(roles) if role.fits(thread, threads, taken[number]))
        number = next(fitting, None)
        found.append(number)
        if number is not None:
            taken[number] += 1
    return found


def seats_of(plan: WorkloadPlan, roles: Sequence[int], topology: Topology) -> list[int]:
    """The number of the cpu that each thread runs on, where *roles* has the number of each thread's role.

    Threads of a role with a pinning of its own take its cpus one after the other, all others those that are
    left in the order of the workload's pinning. Where threads share cpus they go round them.
    """
    own = [part.role.pinning for part in plan.parts]
    reserved = {cpu for number in set(roles) for cpu in own[number] or ()}
    free = [cpu for cpu in order_of(plan.pinning, topology) if cpu not in reserved]
    if isinstance(plan.cpus, int):
        free = free[: plan.cpus]
    taken: Counter[int | None] = Counter()
    seats = []
    for number in roles:
        cpus, queue = (free, None) if own[number] is None else (own[number], number)
        assert cpus is not None
        seats.append(cpus[taken[queue] % len(cpus)])
        taken[queue] += 1
    return seats
