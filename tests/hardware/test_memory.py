"""How long does it take to fill a page when others do it too?"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import simpy
from hypothesis import assume, given
from hypothesis import strategies as st
from machines import NS, run, small_machine

from sim.engine import Activity, Steps
from sim.hardware import ZERO, Cpu, Machine

ALONE, READ, WRITE, SOCKET = 200 * NS, 400 * NS, 800 * NS, 100 * NS

Plan = list[list[tuple[int, int]]]
"""For each cpu its pages: after how much thinking, on which socket."""


def page_times(machine: Machine, plan: Plan) -> list[list[int]]:
    times: list[list[int]] = [[] for _ in plan]

    def body(cpu: Cpu) -> Steps[None]:
        for think, home in plan[cpu.id]:
            cpu.work(think, Activity("user"))
            before = cpu.now
            yield from machine.memory.clear_page(cpu, home)
            times[cpu.id].append(cpu.now - before)

    run(machine, dict.fromkeys(range(len(plan)), body))
    return times


FULL: dict[str, Any] = {
    "topology": {"numa_nodes": 4},
    "memory": {
        "core_read": "16.384 GB/s",  # 250 ns a page
        "core_write": "8.192 GB/s",  # 500 ns a page
        "inter_socket": "5.12 GB/s",  # 800 ns a page
    },
}
"""Two nodes a socket, each with a cluster; every kind of server."""
CORE_READ, CORE_WRITE, LINK = 250 * NS, 500 * NS, 800 * NS


def queues(plan: Plan, llc_pages: int, full: bool = False) -> tuple[list[list[int]], bool]:
    """The same with a simpy.Resource for each link and node; also whether two pages began together."""
    env = simpy.Environment()
    read, write = ([simpy.Resource(env) for _ in range(4)] for _ in range(2))
    nodes, sockets = 4 if full else 2, 2
    node = [simpy.Resource(env) for _ in range(nodes)]
    core_read, core_write = ([simpy.Resource(env) for _ in range(16)] for _ in range(2))
    link = {way: simpy.Resource(env) for way in ((0, 1), (1, 0))}
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
            here, there = cpu // 8, home * sockets // nodes
            per_node = SOCKET * nodes // sockets
            parts = [move(read[cluster], READ), move(node[home], per_node)]
            if full:
                parts += [move(core_read[cpu], CORE_READ), move(core_write[cpu], CORE_WRITE)]
            if full and here != there:
                parts.append(move(link[there, here], LINK))
            if dirty[cluster] > llc_pages:
                parts += [move(write[cluster], WRITE), move(node[home], per_node)]
                if full and here != there:
                    parts.append(move(link[here, there], LINK))
            yield env.all_of([env.timeout(ALONE), *map(env.process, parts)])
            times[cpu].append(env.now - before)

    for cpu in range(len(plan)):
        env.process(thread(cpu))
    env.run()
    return times, len(set(starts)) < len(starts)


def test_whole_lines_are_not_read_before_they_are_written() -> None:
    """A page takes what the core needs, not what the cluster and the node need to read it first."""
    plan: Plan = [[(1, 0)] * 3]
    read = page_times(small_machine({"memory": {"llc": "1 MiB"}}), plan)
    written = page_times(small_machine({"memory": {"llc": "1 MiB", "whole_lines": True}}), plan)
    assert read == [[READ] * 3]
    assert written == [[ALONE] * 3]


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 900_000), st.integers(0, 1)), max_size=6), min_size=1, max_size=16
    )
)
def test_do_pages_take_as_long_as_in_queues_with_events(plan: Plan) -> None:
    expected, tie = queues(plan, llc_pages=16)
    assume(not tie)
    assert page_times(small_machine(), plan) == expected


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 900_000), st.integers(0, 3)), max_size=6), min_size=1, max_size=16
    )
)
def test_is_that_so_with_cores_nodes_and_links_between_sockets(plan: Plan) -> None:
    expected, tie = queues(plan, llc_pages=16, full=True)
    assume(not tie)
    assert page_times(small_machine(FULL), plan) == expected


def rate(machine: Machine, cpus: range, node: int, pages: int = 200) -> float:
    """ns a page of all *cpus* together, of which each zeroes *pages* on *node*, in the second half."""

    def body(cpu: Cpu) -> Steps[None]:
        for _ in range(pages):
            yield from machine.memory.clear_page(cpu, node)
            ended.append(cpu.now)

    ended: list[int] = []
    run(machine, dict.fromkeys(cpus, body))
    ended.sort()
    half = len(ended) // 2
    return (ended[-1] - ended[half]) / (len(ended) - 1 - half) / NS


@pytest.mark.parametrize(
    ("limit", "cpus", "node", "per_page"),
    [
        ("cluster_read", range(4), 0, 1000),
        ("cluster_read", range(8), 0, 500),  # two clusters, a link each
        ("cluster_write", range(4), 0, 1000),
        ("socket_bandwidth", range(8), 0, 2000),  # each page is read, and written when it leaves the cache
        ("socket_bandwidth", range(8), 1, 2000),
        ("core_read", range(1), 0, 1000),
        ("core_read", range(8), 0, 125),
        ("core_write", range(4), 0, 250),
        ("inter_socket", range(8), 1, 1000),  # each direction carries every page once
    ],
)
def test_is_saturation_the_rate_of_the_slowest_server(
    limit: str, cpus: range, node: int, per_page: float
) -> None:
    """The slow one moves 4.096 GB/s, a page in 1 us; all others are fifty times as fast."""
    names = ("cluster_read", "cluster_write", "socket_bandwidth", "core_read", "core_write", "inter_socket")
    memory = {
        **dict.fromkeys(names, "204.8 GB/s"),
        "clear_page": "1 ns",
        "llc": "1 pages",
        limit: "4.096 GB/s",
    }
    assert rate(small_machine({"memory": memory}), cpus, node) == pytest.approx(per_page, rel=0.02)


def test_does_a_remote_page_pass_the_link_and_a_local_one_not() -> None:
    memory = {"cluster_read": "40.96 GB/s", "inter_socket": "5.12 GB/s"}
    assert page_times(small_machine({"memory": memory}), [[(0, 0), (0, 1)]]) == [[ALONE, 800 * NS]]


def test_does_a_copy_read_from_one_node_and_write_to_another() -> None:
    """cpu 0 is on socket 0: a copy from there to socket 1 asks the link from 1 to 0 for the lines it writes
    to; one from socket 1 asks for those it reads; one inside socket 1 asks for both."""

    def time(source: int, node: int) -> int:
        memory = {"cluster_read": "81.92 GB/s", "inter_socket": "8.192 GB/s"}  # 500 ns a page
        machine = small_machine({"memory": memory})

        def body(cpu: Cpu) -> Steps[None]:
            yield from machine.memory.copy_page(cpu, node, source=source)

        run(machine, {0: body})
        return machine.cpus[0].spent["copy"]

    assert [time(0, 0), time(0, 1), time(1, 0), time(1, 1)] == [300 * NS, 500 * NS, 500 * NS, 1000 * NS]


@pytest.mark.parametrize(("nodes", "per_page"), [(2, 200), (4, 400)])
def test_do_the_nodes_of_a_socket_split_its_bandwidth(nodes: int, per_page: int) -> None:
    """40.96 GB/s a socket; each page is read and written. All cores work on the memory of one node."""
    fast = dict.fromkeys(("cluster_read", "cluster_write"), "819.2 GB/s")
    changes = {"topology": {"numa_nodes": nodes}, "memory": {**fast, "clear_page": "1 ns", "llc": "1 pages"}}
    machine = small_machine(changes)
    assert {cpu.node for cpu in machine.cpus} == set(range(nodes))
    assert rate(machine, range(16), 0) == pytest.approx(per_page, rel=0.02)


def test_does_a_guest_have_the_nodes_of_the_machine_under_it() -> None:
    """Its kernel sees one node, but pages on two sockets do not share a server."""
    plan: Plan = [[] for _ in range(16)]
    plan[0], plan[4] = [(0, 0)] * 4, [(0, 1)] * 4
    slow_sockets = {"memory": {"socket_bandwidth": "10.24 GB/s"}}
    guest = small_machine({"guest": True, "topology": {"numa_nodes": 1}, **slow_sockets})
    assert [times[-1] for times in page_times(guest, plan) if times] == [READ, READ]


def test_is_a_huge_page_512_pages_unless_it_has_a_cost_of_its_own() -> None:
    def time(memory: dict[str, str]) -> int:
        machine = small_machine({"memory": {"cluster_read": "40.96 GB/s", "llc": "1 GiB", **memory}})

        def body(cpu: Cpu) -> Steps[None]:
            yield from machine.memory.clear_huge_page(cpu, 0)

        run(machine, {0: body})
        return machine.engine._now

    assert time({}) == 512 * ALONE
    assert time({"clear_huge": "512 us"}) == 512 * 1000 * NS
    assert time({"clear_huge": "5 us"}) == 512 * 100 * NS  # the link's speed


@pytest.mark.parametrize("cores", [1, 4])
@pytest.mark.parametrize("llc", ["1 MiB", "1 GiB"])
def test_is_a_huge_page_zeroed_in_about_the_same_time_many_pages_at_once(cores: int, llc: str) -> None:
    def time(at_once: int) -> int:
        machine = small_machine({"memory": {"llc": llc}})

        def body(cpu: Cpu) -> Steps[None]:
            yield from machine.memory.clear_huge_page(cpu, 0, at_once=at_once)

        run(machine, dict.fromkeys(range(cores), body))
        return machine.engine._now

    assert time(64) == pytest.approx(time(1), rel=0.06)  # both links are a little better used


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

    def body(cpu: Cpu) -> Steps[None]:
        yield from machine.memory.clear_page(cpu, 0)
        yield from machine.memory.copy_page(cpu, 0)

    run(machine, {0: body})
    assert machine.cpus[0].spent[ZERO] == 200 * NS
    assert machine.cpus[0].spent["copy"] == 300 * NS  # 300 cycles at 1 GHz
