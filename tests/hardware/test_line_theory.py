"""Does a line behave as queueing theory says?

*n* cpus think for an exponential time and then write one line: a closed network of a delay and one server.
With exponential service, mean value analysis (MVA) is exact. With the constant service time of a real line,
the embedded Markov chain at departures (M/D/1//n) is.
"""

from __future__ import annotations

from math import comb, exp

import numpy as np
import pytest
from machines import NS, run, small_machine

from sim.engine import ThreadBody
from sim.hardware import CacheLine, Cpu, Machine

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

    def body(cpu: Cpu) -> ThreadBody:
        draw = machine.engine.stream(f"think {cpu.id}").expovariate
        while len(done) < accesses:
            cpu.work(round(draw(1 / think)), "user")
            yield from line.write(cpu)
            done.append(machine.engine.now)

    run(machine, dict.fromkeys(range(threads), body))
    warm = accesses // 10
    return (len(done) - 1 - warm) / (done[-1] - done[warm])


def mva(threads: int, think: float) -> float:
    """Exact mean value analysis of one queueing station and a delay."""
    queue, result = 0.0, 0.0
    for n in range(1, threads + 1):
        response = SERVICE * (1 + queue)
        result = n / (think + response)
        queue = result * response
    return result


def constant_service(threads: int, think: float) -> float:
    """M/D/1//n: states are the numbers that a departure leaves behind."""
    arrives = 1 - exp(-SERVICE / think)  # one thinking thread arrives during a service
    chain = np.zeros((threads, threads))
    for left in range(threads):
        queued = max(left, 1)  # an empty line waits for the next arrival
        for new in range(threads - queued + 1):
            chain[left, queued - 1 + new] += (
                comb(threads - queued, new) * arrives**new * (1 - arrives) ** (threads - queued - new)
            )
    balance = np.vstack([chain.T - np.eye(threads), np.ones(threads)])
    stationary = np.linalg.lstsq(balance, np.append(np.zeros(threads), 1.0), rcond=None)[0]
    return float(1 / (SERVICE + stationary[0] * think / threads))


@pytest.mark.parametrize("threads", [1, 4, 16])
def test_does_an_exponential_line_match_mean_value_analysis(threads: int) -> None:
    machine = small_machine(UNIFORM, seed=7)
    line = ExponentialLine(machine.fabric, "line", 0, owner=0)
    assert throughput(machine, line, threads, 8 * SERVICE, 5_000) == pytest.approx(
        mva(threads, 8 * SERVICE), rel=0.05
    )


@pytest.mark.parametrize("threads", [1, 4, 16])
def test_does_a_line_match_the_chain_for_constant_service(threads: int) -> None:
    machine = small_machine(UNIFORM, seed=8)
    found = throughput(machine, machine.line("line", owner=0), threads, 8 * SERVICE, 5_000)
    assert found == pytest.approx(constant_service(threads, 8 * SERVICE), rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2, 4, 6, 8, 12, 16])
@pytest.mark.parametrize("think", [2, 8, 20])
def test_are_both_theories_met_within_two_percent(threads: int, think: int) -> None:
    machine = small_machine(UNIFORM, seed=threads)
    line = ExponentialLine(machine.fabric, "line", 0, owner=0)
    found = throughput(machine, line, threads, think * SERVICE, 100_000)
    assert found == pytest.approx(mva(threads, think * SERVICE), rel=0.02)

    machine = small_machine(UNIFORM, seed=threads)
    found = throughput(machine, machine.line("line", owner=0), threads, think * SERVICE, 100_000)
    assert found == pytest.approx(constant_service(threads, think * SERVICE), rel=0.01)


def test_is_a_saturated_line_as_fast_as_its_transfers() -> None:
    machine = small_machine(UNIFORM)
    found = throughput(machine, machine.line("line", owner=0), 16, SERVICE / 100, 2_000)
    assert found == pytest.approx(1 / SERVICE, rel=0.001)
