"""Does a line under Poisson arrivals behave as M/D/1?

The arrivals are dealt out to so many cpus that one is done long before its next turn, so no arrival waits for
its cpu. Every access costs the same.
"""

from __future__ import annotations

from itertools import accumulate

import pytest
from machines import NS, run, small_machine
from queueing import lindley, mean_wait

from sim.engine import Activity, Steps
from sim.hardware import Cpu

SERVICE = 100 * NS
CPUS = 128
MANY = {
    "topology": {"sockets": 1, "clusters_per_socket": 1, "cores_per_cluster": CPUS, "numa_nodes": 1},
    "coherence": dict.fromkeys(("rmw", "same_cluster", "cross_cluster", "cross_socket"), "100 ns"),
}


def waits(load: float, arrivals: int, rule: str = "fifo") -> tuple[list[int], list[int]]:
    """When each access came and how long it waited for the line, in ps and in the order of arrival."""
    order = {"order": {"rule": rule}}
    machine = small_machine({**MANY, "coherence": {**MANY["coherence"], **order}}, seed=11)
    draw = machine.engine.stream("arrivals").expovariate
    times = list(accumulate(round(draw(load / SERVICE)) for _ in range(arrivals)))
    line = machine.line("line", owner=0)
    found: dict[int, int] = {}

    def body(cpu: Cpu) -> Steps[None]:
        for number in range(cpu.id, arrivals, CPUS):
            assert cpu.now <= times[number], "too few cpus"
            cpu.work(times[number] - cpu.now, Activity("user"))
            yield cpu.take_pending()
            yield from line.write(cpu)
            found[number] = machine.engine.now - times[number]

    run(machine, dict.fromkeys(range(CPUS), body))
    return times, [found[number] for number in range(arrivals)]


def mean(values: list[int]) -> float:
    warm = len(values) // 20
    return sum(values[warm:]) / (len(values) - warm)


@pytest.mark.parametrize("load", [0.3, 0.7, 0.9])
def test_does_each_access_wait_as_lindleys_recursion_says(load: float) -> None:
    times, found = waits(load, 3_000)
    assert found == list(lindley(times, SERVICE))


def test_is_the_mean_wait_the_same_in_any_order() -> None:
    """The work that is left does not depend on who is next."""
    _, in_order = waits(0.8, 3_000)
    _, at_random = waits(0.8, 3_000, rule="random")
    assert at_random != in_order
    assert mean(at_random) == pytest.approx(mean(in_order), rel=0.01)


def test_is_the_mean_wait_that_of_constant_service() -> None:
    _, found = waits(0.5, 20_000)
    assert mean(found) == pytest.approx(mean_wait(0.5, SERVICE), rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("load", [0.2, 0.5, 0.7, 0.8])
def test_is_the_mean_wait_met_within_two_percent(load: float) -> None:
    _, found = waits(load, 1_000_000)
    assert mean(found) == pytest.approx(mean_wait(load, SERVICE), rel=0.02)
