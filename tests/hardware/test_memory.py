"""How long does it take to fill a page when others do it too?"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import simpy
from hypothesis import assume, given
from hypothesis import strategies as st
from machines import NS, run, small_machine

from sim.engine import ThreadBody
from sim.hardware import ZERO, Cpu, Machine

ALONE, READ, WRITE, SOCKET = 200 * NS, 400 * NS, 800 * NS, 100 * NS

Plan = list[list[tuple[int, int]]]
"""For each cpu its pages: after how much thinking, on which socket."""


def page_times(machine: Machine, plan: Plan) -> list[list[int]]:
    times: list[list[int]] = [[] for _ in plan]

    def body(cpu: Cpu) -> ThreadBody:
        for think, home in plan[cpu.id]:
            cpu.work(think, "user")
            before = cpu.now
            yield from machine.memory.clear_page(cpu, home)
            times[cpu.id].append(cpu.now - before)

    run(machine, dict.fromkeys(range(len(plan)), body))
    return times


def queues(plan: Plan, llc_pages: int) -> tuple[list[list[int]], bool]:
    """The same with a simpy.Resource for each link and socket; also whether two pages began together."""
    env = simpy.Environment()
    read, write = ([simpy.Resource(env) for _ in range(4)] for _ in range(2))
    socket = [simpy.Resource(env) for _ in range(2)]
    dirty = [0] * 4
    times: list[list[int]] = [[] for _ in plan]
    starts = []

    def move(server: simpy.Resource, service: int) -> Generator[simpy.Event, Any, None]:
        with server.request() as granted:
            yield granted
            yield env.timeout(service)

    def thread(cpu: int) -> Generator[simpy.Event, Any, None]:
        cluster = cpu // 4
        for think, home in plan[cpu]:
            yield env.timeout(think)
            before = env.now
            starts.append(before)
            dirty[cluster] += 1
            parts = [move(read[cluster], READ), move(socket[home], SOCKET)]
            if dirty[cluster] > llc_pages:
                parts += [move(write[cluster], WRITE), move(socket[home], SOCKET)]
            yield env.all_of([env.timeout(ALONE), *map(env.process, parts)])
            times[cpu].append(env.now - before)

    for cpu in range(len(plan)):
        env.process(thread(cpu))
    env.run()
    return times, len(set(starts)) < len(starts)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 900_000), st.integers(0, 1)), max_size=6), min_size=1, max_size=16
    )
)
def test_do_pages_take_as_long_as_in_queues_with_events(plan: Plan) -> None:
    expected, tie = queues(plan, llc_pages=16)
    assume(not tie)
    assert page_times(small_machine(), plan) == expected


def test_does_one_core_alone_fill_at_its_own_speed() -> None:
    machine = small_machine({"memory": {"cluster_read": "40.96 GB/s"}})
    assert page_times(machine, [[(0, 0), (0, 1)]]) == [[ALONE, ALONE]]


@pytest.mark.parametrize("cores", [1, 2, 3, 4])
def test_does_latency_grow_with_the_cores_that_share_a_link(cores: int) -> None:
    machine = small_machine()
    plan = [[(0, 0)] * 4 if cpu < cores else [] for cpu in range(4)]
    last = [times[-1] for times in page_times(machine, plan)[:cores]]
    assert last == [cores * READ] * cores


def test_do_clusters_share_nothing_but_the_sockets_memory() -> None:
    def times(home_of: list[int]) -> list[int]:
        plan: Plan = [[] for _ in range(16)]
        for cluster, home in enumerate(home_of):
            plan[4 * cluster] = [(0, home)] * 4
        slow_sockets = {"memory": {"socket_bandwidth": "10.24 GB/s"}}  # 400 ns a page
        return [pages[-1] for pages in page_times(small_machine(slow_sockets), plan) if pages]

    assert times([0, 1]) == [READ, READ]
    assert times([0, 0]) == [2 * READ, 2 * READ]
    assert times([0, 0, 1, 1]) == [2 * READ] * 4


def test_does_the_cache_absorb_dirty_pages_until_it_is_full() -> None:
    machine = small_machine({"memory": {"llc": "3 pages"}})
    assert page_times(machine, [[(0, 0)] * 6]) == [[READ] * 3 + [WRITE] * 3]


def test_does_each_cluster_have_a_cache_of_its_own() -> None:
    machine = small_machine({"memory": {"llc": "2 pages"}})
    plan: Plan = [[] for _ in range(8)]
    plan[0] = plan[4] = [(0, 0)] * 2
    assert max(max(times) for times in page_times(machine, plan) if times) == READ


def test_is_a_copy_charged_by_its_own_cost() -> None:
    machine = small_machine({"memory": {"cluster_read": "40.96 GB/s"}})

    def body(cpu: Cpu) -> ThreadBody:
        yield from machine.memory.clear_page(cpu, 0)
        yield from machine.memory.copy_page(cpu, 0)

    run(machine, {0: body})
    assert machine.cpus[0].spent[ZERO] == 200 * NS
    assert machine.cpus[0].spent["copy"] == 300 * NS  # 300 cycles at 1 GHz
