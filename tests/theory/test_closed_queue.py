"""Do a line and a lock behave as queueing theory says?

*n* cpus think for an exponential time and then use the line or the lock: a closed network of a delay and one
server. With exponential service, mean value analysis (MVA) is exact. With the constant service time of a real
line, the embedded Markov chain at departures (M/D/1//n) is.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from machines import NS, run, small_machine
from queueing import constant_service, mva

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu, Machine
from sim.sync import CnaLock, McsLock, Mutex, QueuedSpinLock, QueueNodes, Scheduler, TicketLock

SERVICE = 100 * NS
UNIFORM = {  # every access costs the same, wherever the owner sits
    "coherence": dict.fromkeys(("rmw", "same_cluster", "cross_cluster", "cross_socket"), "100 ns")
}


class ExponentialLine(CacheLine):
    """A line whose transfers take an exponential time of mean `SERVICE`."""

    __slots__ = ()

    def _take(self, cpu: int) -> int:
        super()._take(cpu)
        return round(self.fabric.engine.stream("service").expovariate(1 / SERVICE))


def throughput(machine: Machine, line: CacheLine, threads: int, think: float, accesses: int) -> float:
    """Writes a ps, with exponential thinking of mean *think* ps."""
    done = []

    def body(cpu: Cpu) -> Steps[None]:
        draw = machine.engine.stream(f"think {cpu.id}").expovariate
        while len(done) < accesses:
            cpu.work(round(draw(1 / think)), Activity("user"))
            yield from line.write(cpu)
            done.append(machine.engine.now)

    run(machine, dict.fromkeys(range(threads), body))
    warm = accesses // 10
    return (len(done) - 1 - warm) / (done[-1] - done[warm])


@pytest.mark.parametrize("threads", [1, 4, 16])
def test_does_an_exponential_line_match_mean_value_analysis(threads: int) -> None:
    machine = small_machine(UNIFORM, seed=7)
    line = ExponentialLine(machine.fabric, "line", 0, owner=0)
    assert throughput(machine, line, threads, 8 * SERVICE, 5_000) == pytest.approx(
        mva(threads, 8 * SERVICE, SERVICE), rel=0.05
    )


@pytest.mark.parametrize("threads", [1, 4, 16])
def test_does_a_line_match_the_chain_for_constant_service(threads: int) -> None:
    machine = small_machine(UNIFORM, seed=8)
    found = throughput(machine, machine.line("line", owner=0), threads, 8 * SERVICE, 5_000)
    assert found == pytest.approx(constant_service(threads, 8 * SERVICE, SERVICE), rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2, 4, 6, 8, 12, 16])
@pytest.mark.parametrize("think", [2, 8, 20])
def test_are_both_theories_met_within_two_percent(threads: int, think: int) -> None:
    machine = small_machine(UNIFORM, seed=threads)
    line = ExponentialLine(machine.fabric, "line", 0, owner=0)
    found = throughput(machine, line, threads, think * SERVICE, 100_000)
    assert found == pytest.approx(mva(threads, think * SERVICE, SERVICE), rel=0.02)

    machine = small_machine(UNIFORM, seed=threads)
    found = throughput(machine, machine.line("line", owner=0), threads, think * SERVICE, 100_000)
    assert found == pytest.approx(constant_service(threads, think * SERVICE, SERVICE), rel=0.01)


def test_is_a_saturated_line_as_fast_as_its_transfers() -> None:
    machine = small_machine(UNIFORM)
    found = throughput(machine, machine.line("line", owner=0), 16, SERVICE / 100, 2_000)
    assert found == pytest.approx(1 / SERVICE, rel=0.001)


# -- locks ---------------------------------------------------------------------------------------------------

SECTION = 5_000 * NS
QUICK = {  # hand-overs take no time that counts beside SECTION
    "coherence": {**dict.fromkeys(("hit", "rmw", "same_cluster", "shared_read"), "1 ns")}
    | dict.fromkeys(("cross_cluster", "cross_socket"), "1 ns"),
    "memory": dict.fromkeys(("local", "remote"), "1 ns"),
}
Lock = CnaLock | McsLock | Mutex | QueuedSpinLock | TicketLock


def ticket(machine: Machine) -> Lock:
    return TicketLock(machine.line("lock"), Activity("lock"))


def mcs(machine: Machine) -> Lock:
    return McsLock(QueueNodes(machine, "nodes"), machine.line("lock"), Activity("lock"))


def qspinlock(machine: Machine) -> Lock:
    return QueuedSpinLock(QueueNodes(machine, "nodes"), machine.line("lock"), Activity("lock"))


def cna(machine: Machine) -> Lock:
    return CnaLock(
        QueueNodes(machine, "nodes"),
        machine.line("lock"),
        Activity("lock"),
        100 * SECTION,
        machine.spec.topology,
    )


def mutex(machine: Machine) -> Lock:
    return Mutex(QueueNodes(machine, "nodes"), machine.line("lock"), Scheduler(machine), Activity("lock"))


LOCKS = pytest.mark.parametrize(
    "build", [ticket, mcs, qspinlock, cna, mutex], ids=lambda build: build.__name__
)


def turns_a_ps(build: Callable[[Machine], Lock], threads: int, think: float, turns: int) -> float:
    """Turns a ps; thinking of mean *think* ps and sections of mean `SECTION`, both exponential."""
    machine = small_machine(QUICK, seed=threads)
    lock = build(machine)
    done = []

    def body(cpu: Cpu) -> Steps[None]:
        draw = machine.engine.stream(f"thread {cpu.id}").expovariate
        while len(done) < turns:
            cpu.work(round(draw(1 / think)), Activity("user"))
            yield from lock.acquire(cpu)
            cpu.work(round(draw(1 / SECTION)), Activity("inside"))
            yield from lock.release(cpu)
            done.append(machine.engine.now)

    run(machine, dict.fromkeys(range(threads), body))
    warm = turns // 10
    return (len(done) - 1 - warm) / (done[-1] - done[warm])


@LOCKS
def test_does_a_lock_match_mean_value_analysis(build: Callable[[Machine], Lock]) -> None:
    """In whatever order it serves: the sections that are left are exponential again."""
    found = turns_a_ps(build, 8, 8 * SECTION, 4_000)
    assert found == pytest.approx(mva(8, 8 * SECTION, SECTION), rel=0.05)


@pytest.mark.slow
@LOCKS
@pytest.mark.parametrize("threads", [1, 2, 6, 16])
@pytest.mark.parametrize("think", [2, 8])
def test_is_the_theory_of_locks_met_within_two_percent(
    build: Callable[[Machine], Lock], threads: int, think: int
) -> None:
    found = turns_a_ps(build, threads, think * SECTION, 60_000)
    assert found == pytest.approx(mva(threads, think * SECTION, SECTION), rel=0.02)
