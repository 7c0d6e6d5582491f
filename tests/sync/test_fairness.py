"""Who took a place in the queue first gets in first: is that so for every lock that promises it?"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st
from locks import LOCK, Turn, schedules
from machines import NS, run, small_machine, with_order

from sim.engine import Activity, ScheduleName, Steps
from sim.hardware import Cpu, Machine
from sim.sync import CnaLock, McsLock, QueuedSpinLock, QueueNodes, TicketLock

Lock = CnaLock | McsLock | QueuedSpinLock | TicketLock
ONE_SOCKET = {"topology": {"sockets": 1, "clusters_per_socket": 4, "numa_nodes": 1}}


def mcs(machine: Machine) -> Lock:
    return McsLock(QueueNodes(machine, "nodes"), machine.line("lock"), LOCK)


def qspinlock(machine: Machine) -> Lock:
    return QueuedSpinLock(QueueNodes(machine, "nodes"), machine.line("lock"), LOCK)


def cna(machine: Machine, threshold: int = 10_000 * NS) -> Lock:
    return CnaLock(QueueNodes(machine, "nodes"), machine.line("lock"), LOCK, threshold, machine.spec.topology)


def ticket(machine: Machine) -> Lock:
    return TicketLock(machine.line("lock"), LOCK)


class Queueing:
    """Runs a schedule and notes who took a place when: swapped the tail, set pending, drew a number."""

    def __init__(self, machine: Machine, lock: Lock, schedule: list[list[Turn]]) -> None:
        self.lock = lock
        self.places: list[int] = []
        self.entries: list[int] = []
        run(machine, {cpu: lambda cpu: self._body(cpu, schedule[cpu.id]) for cpu in range(len(schedule))})

    def _body(self, cpu: Cpu, turns: list[Turn]) -> Steps[None]:
        for turn in turns:
            think, inside = turn.think, turn.inside
            cpu.work(think, Activity("user"))
            yield from self._watched(cpu)
            self.entries.append(cpu.id)
            cpu.work(inside, Activity("inside"))
            yield from self.lock.release(cpu)

    def _watched(self, cpu: Cpu) -> Steps[None]:
        """Acquire, looking after each step whether the cpu has a place now."""
        drawn = self._drawn()
        placed, result, steps = False, None, self.lock.acquire(cpu)
        while True:
            try:
                yielded = steps.send(result)
            except StopIteration:
                if not placed:
                    self.places.append(cpu.id)
                return
            if not placed and self._has_place(cpu, drawn):
                placed = True
                self.places.append(cpu.id)
            result = yield yielded
            drawn = drawn if placed else self._drawn()

    def _drawn(self) -> int:
        return self.lock._next if isinstance(self.lock, TicketLock) else 0

    def _has_place(self, cpu: Cpu, drawn: int) -> bool:
        if isinstance(self.lock, TicketLock):
            return self.lock._next > drawn
        pending = isinstance(self.lock, QueuedSpinLock) and self.lock._pending is cpu
        return pending or self.lock._queue.tail is cpu


@pytest.mark.parametrize("build", [mcs, qspinlock, ticket], ids=lambda build: build.__name__)
@pytest.mark.parametrize("ties", ["fifo", "shuffle"])
@given(
    schedule=schedules(cpus=12),
    rule=st.sampled_from(["fifo", "random", "cluster-first"]),
    seed=st.integers(0, 9),
)
def test_are_places_served_in_order(
    build: Callable[[Machine], Lock], ties: ScheduleName, schedule: list[list[Turn]], rule: str, seed: int
) -> None:
    machine = small_machine(with_order(rule), ties=ties, seed=seed)
    queueing = Queueing(machine, build(machine), schedule)
    assert queueing.entries == queueing.places


@given(schedule=schedules(cpus=12), seed=st.integers(0, 9))
def test_is_a_numa_aware_lock_in_order_on_one_socket(schedule: list[list[Turn]], seed: int) -> None:
    machine = small_machine({**ONE_SOCKET, **with_order("random")}, seed=seed)
    queueing = Queueing(machine, cna(machine), schedule)
    assert queueing.entries == queueing.places


def test_does_a_numa_aware_lock_go_round_in_a_socket() -> None:
    """Where everybody queues all the time, the cpus of the preferred socket take turns."""
    machine = small_machine()
    queueing = Queueing(machine, cna(machine, 200_000 * NS), [[Turn(0, True, 500 * NS)] * 100] * 16)
    stays = [list(stay) for _, stay in groupby(queueing.entries, key=lambda cpu: cpu // 8)]
    long = [stay for stay in stays if len(stay) >= 20]
    assert sum(map(len, long)) > 0.7 * 1600
    assert {stay[0] // 8 for stay in long} == {0, 1}
    assert all(stay[8:] == stay[:-8] for stay in long[:-2])  # at the end threads leave


def test_does_nobody_wait_for_longer_than_the_threshold_and_a_round() -> None:
    """16 threads without a pause: a stay elsewhere, and then everybody once."""
    turn = 1_500 * NS
    for threshold in (5_000 * NS, 30_000 * NS):
        machine = small_machine()
        lock = CnaLock(
            QueueNodes(machine, "nodes"), machine.line("lock"), LOCK, threshold, machine.spec.topology
        )
        longest = 0

        def body(cpu: Cpu, lock: CnaLock = lock) -> Steps[None]:
            nonlocal longest
            for _ in range(60):
                since = cpu.now
                yield from lock.acquire(cpu)
                longest = max(longest, cpu.now - since)
                cpu.work(500 * NS, Activity("inside"))
                yield from lock.release(cpu)

        run(machine, dict.fromkeys(range(16), body))
        assert threshold < longest < threshold + 2 * 16 * turn
