"""Does a saturated queue lock take T(n) = n H: a hand-over of constant length, however many wait?

The machine is flat: a transfer costs T from anywhere, and readers do not wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from machines import HIT, NS, run, small_machine

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.sync import CnaLock, McsLock, QueuedSpinLock, QueueNodes, TicketLock

T = 100 * NS
INSIDE = 1_000 * NS
FLAT = {
    "topology": {"sockets": 1, "clusters_per_socket": 1, "cores_per_cluster": 32, "numa_nodes": 1},
    "coherence": dict.fromkeys(("same_cluster", "cross_cluster", "cross_socket"), "100 ns")
    | {"shared_read": "0 ns"},
}
Lock = CnaLock | McsLock | QueuedSpinLock | TicketLock


def mcs(machine: Machine) -> Lock:
    return McsLock(QueueNodes(machine, "nodes"), machine.line("lock"), Activity("lock"))


def qspinlock(machine: Machine) -> Lock:
    return QueuedSpinLock(QueueNodes(machine, "nodes"), machine.line("lock"), Activity("lock"))


def cna(machine: Machine) -> Lock:
    return CnaLock(
        QueueNodes(machine, "nodes"),
        machine.line("lock"),
        Activity("lock"),
        10_000_000 * NS,
        machine.spec.topology,
    )


def ticket(machine: Machine) -> Lock:
    return TicketLock(machine.line("lock"), Activity("lock"))


def turns(build: Callable[[Machine], Lock], threads: int) -> set[int]:
    """The times from one entry to the next (ps) once all threads queue."""
    machine = small_machine(FLAT)
    lock = build(machine)
    entered = []

    def body(cpu: Cpu) -> Steps[None]:
        for _ in range(12):
            yield from lock.acquire(cpu)
            if cpu.pending:
                yield cpu.take_pending()
            entered.append(cpu.now)
            cpu.work(INSIDE, Activity("inside"))
            yield from lock.release(cpu)

    run(machine, dict.fromkeys(range(threads), body))
    return {after - before for before, after in pairwise(entered[3 * threads : -threads - 1])}


@pytest.mark.parametrize("threads", [4, 8, 16, 32])
@pytest.mark.parametrize(
    ("build", "hand_over"),
    [
        (mcs, HIT + 2 * T),  # look at the own node; store to the next one's, which loads it
        (
            ticket,
            3 * T,
        ),  # store the turn; a waiter loads it from the holder; the next in turn from that waiter
        (qspinlock, 5 * T),  # store the word; the comer's RMW; the head's load and RMW; promote the next head
        (cna, 5 * T),  # the same: looking behind oneself is done while the holder works
    ],
    ids=["mcs", "ticket", "qspinlock", "cna"],
)
def test_is_a_turn_of_constant_length(build: Callable[[Machine], Lock], hand_over: int, threads: int) -> None:
    assert turns(build, threads) == {INSIDE + hand_over}
