"""What does one access to an idle cache line cost, and whose line is it afterwards?"""

from __future__ import annotations

from typing import Any

import pytest
from machines import (
    ADJACENT,
    CROSS_CLUSTER,
    CROSS_SOCKET,
    HIT,
    LOCAL,
    NS,
    REMOTE,
    RMW,
    SAME_CLUSTER,
    SHARED_READ,
    run,
    small_machine,
)

from sim.engine import Activity, Steps
from sim.hardware import LINE, MEMORY, CacheLine, Cpu, Machine

AMD = {"coherence": {"home_aware": True}}


def latency(machine: Machine, line: CacheLine, cpu: int, *, write: bool = True) -> int:
    """Time of one access, from the account."""

    def body(cpu: Cpu) -> Steps[None]:
        yield from line.write(cpu) if write else line.read(cpu)

    run(machine, {cpu: body})
    return machine.cpus[cpu].spent[LINE]


@pytest.mark.parametrize(
    ("owner", "cost"),
    [(0, RMW), (1, SAME_CLUSTER), (3, SAME_CLUSTER), (4, CROSS_CLUSTER), (8, CROSS_SOCKET)],
)
def test_does_a_write_pay_the_distance_to_the_last_owner(owner: int, cost: int) -> None:
    machine = small_machine()
    line = machine.line("line", owner=owner)
    assert latency(machine, line, 0) == cost
    assert (line.owner, line.sharers) == (0, 0)


@pytest.mark.parametrize(("cpu", "cost"), [(0, LOCAL), (8, REMOTE)])
@pytest.mark.parametrize("write", [True, False])
def test_does_an_uncached_line_come_from_the_memory_of_its_home(cpu: int, cost: int, write: bool) -> None:
    machine = small_machine()
    assert latency(machine, machine.line("line", home=0, owner=MEMORY), cpu, write=write) == cost


@pytest.mark.parametrize(
    ("owner", "cpu", "home", "cost"),
    [
        (4, 0, 0, CROSS_CLUSTER),  # both on the home socket
        (4, 0, 1, CROSS_SOCKET),  # the request goes through the other socket
        (1, 0, 1, SAME_CLUSTER),  # inside a cluster the home does not matter
        (8, 0, 0, CROSS_SOCKET),
        (8, 0, 1, CROSS_SOCKET),
        (12, 8, 1, CROSS_CLUSTER),
        (12, 8, 0, CROSS_SOCKET),
    ],
)
def test_does_amds_home_rule_send_transfers_through_the_home_socket(
    owner: int, cpu: int, home: int, cost: int
) -> None:
    machine = small_machine(AMD)
    assert latency(machine, machine.line("line", home, owner=owner), cpu) == cost


def test_does_the_home_not_matter_without_the_rule() -> None:
    machine = small_machine()
    assert latency(machine, machine.line("line", home=1, owner=4), 0) == CROSS_CLUSTER


@pytest.mark.parametrize(
    ("readers", "cost"),
    [
        ([1], SAME_CLUSTER),
        ([1, 2, 3], SAME_CLUSTER),
        ([1, 5], CROSS_CLUSTER),
        ([1, 5, 12], CROSS_SOCKET),
        ([12], CROSS_SOCKET),
    ],
)
def test_does_a_write_pay_for_its_farthest_sharer(readers: list[int], cost: int) -> None:
    machine = small_machine()
    line = machine.line("line", owner=0)
    for reader in readers:
        latency(machine, line, reader, write=False)
    assert latency(machine, line, 0) == cost
    assert (line.owner, line.sharers) == (0, 0)


def test_is_a_write_by_the_only_sharer_local() -> None:
    machine = small_machine()
    line = machine.line("line")
    latency(machine, line, 0, write=False)
    assert latency(machine, line, 0) == RMW


def test_does_a_reader_keep_its_copy_until_somebody_writes() -> None:
    machine = small_machine()
    line = machine.line("line", owner=4)
    assert latency(machine, line, 0, write=False) == CROSS_CLUSTER
    assert latency(machine, line, 0, write=False) == HIT
    assert latency(machine, line, 4, write=False) == HIT  # the old owner keeps a copy too
    latency(machine, line, 8)
    assert latency(machine, line, 0, write=False) == CROSS_SOCKET


@pytest.mark.parametrize(("reader", "cost"), [(1, SAME_CLUSTER), (4, CROSS_CLUSTER), (12, CROSS_SOCKET)])
def test_does_a_further_reader_pay_the_distance_to_the_nearest_copy(reader: int, cost: int) -> None:
    machine = small_machine()
    line = machine.line("line", home=0, owner=0)
    latency(machine, line, 2, write=False)
    assert latency(machine, line, reader, write=False) == cost


@pytest.mark.parametrize(("lines", "cost"), [(1, CROSS_CLUSTER), (4, CROSS_CLUSTER + 3 * ADJACENT)])
def test_do_adjacent_lines_come_in_one_burst(lines: int, cost: int) -> None:
    machine = small_machine()
    assert latency(machine, machine.line("object", owner=4, lines=lines), 0) == cost


def test_do_repeated_rmws_follow_before_anyone_else_gets_the_line() -> None:
    machine = small_machine()
    line = machine.line("line", owner=0)
    done = {}

    def thrice(cpu: Cpu) -> Steps[None]:
        yield from line.write(cpu, again=2)
        done[cpu.id] = cpu.now

    run(machine, {0: thrice, 1: thrice})
    assert done == {0: 3 * RMW, 1: 3 * RMW + SAME_CLUSTER + 2 * RMW}


# -- busy lines ------------------------------------------------------------------------------------------


def test_do_writers_serialise() -> None:
    machine = small_machine()
    line = machine.line("line", owner=0)
    done = {}

    def body(cpu: Cpu) -> Steps[None]:
        yield from line.write(cpu)
        done[cpu.id] = cpu.now

    run(machine, dict.fromkeys((1, 4, 8), body))
    assert done == {
        1: SAME_CLUSTER,
        4: SAME_CLUSTER + CROSS_CLUSTER,
        8: SAME_CLUSTER + CROSS_CLUSTER + CROSS_SOCKET,
    }


def test_is_a_copy_broadcast_to_readers_at_the_rate_of_the_home() -> None:
    """The first reader moves the line; each later one occupies it for `shared_read` only."""
    machine = small_machine()
    line = machine.line("line", owner=0)
    done = {}

    def body(cpu: Cpu) -> Steps[None]:
        yield from line.read(cpu)
        done[cpu.id] = cpu.now

    run(machine, dict.fromkeys((4, 8, 12, 9, 5), body))
    assert done[4] == CROSS_CLUSTER
    assert done[8] == CROSS_CLUSTER + CROSS_SOCKET
    assert done[12] == CROSS_CLUSTER + SHARED_READ + CROSS_CLUSTER  # from cpu 8's side
    assert done[9] == done[8]  # asks after cpu 8 did, gets the copy that is on its way
    assert done[5] == CROSS_CLUSTER + 2 * SHARED_READ + SAME_CLUSTER


def test_does_a_reader_inside_the_cluster_not_occupy_the_line() -> None:
    machine = small_machine()
    line = machine.line("line", owner=0)
    latency(machine, line, 1, write=False)
    latency(machine, line, 2, write=False)
    assert line.busy_until <= machine.engine.now


def test_does_a_cached_load_wait_for_nobody() -> None:
    """A copy is valid until the write that takes it away is granted."""
    machine = small_machine()
    line = machine.line("line", owner=0)
    latency(machine, line, 1, write=False)
    began = machine.engine.now
    done = {}

    def writer(cpu: Cpu) -> Steps[None]:
        yield 5 * NS + 1
        yield from line.write(cpu)

    def reader(cpu: Cpu) -> Steps[None]:
        for _ in range(3):
            yield 2 * NS
            yield from line.read(cpu)
            if cpu.pending:
                yield cpu.take_pending()
            done[cpu.now - began] = line.held_by(cpu)

    for number, body in {8: writer, 1: reader}.items():
        machine.cpus[number].thread = machine.engine.process(body(machine.cpus[number]))
    machine.engine.run()
    # Two hits, then the copy is gone: the third load waits for the write and fetches the line again.
    assert list(done) == [3 * NS, 6 * NS, 5 * NS + 1 + CROSS_SOCKET + CROSS_SOCKET]


# -- prefetch --------------------------------------------------------------------------------------------


def test_does_a_prefetch_not_block_and_hide_the_transfer() -> None:
    machine = small_machine()
    line = machine.line("line", owner=8)
    at = {}

    def body(cpu: Cpu) -> Steps[None]:
        yield from line.prefetch_write(cpu)
        at["prefetched"] = cpu.now
        cpu.work(500 * NS, Activity("user"))
        yield from line.write(cpu)
        at["written"] = cpu.now

    run(machine, {0: body})
    assert at == {"prefetched": 0, "written": 500 * NS + RMW}
    assert machine.cpus[0].spent[LINE] == RMW


def test_does_a_write_wait_for_the_rest_of_its_prefetch() -> None:
    machine = small_machine()
    line = machine.line("line", owner=8)

    def body(cpu: Cpu) -> Steps[None]:
        yield from line.prefetch_write(cpu)
        yield from line.prefetch_write(cpu)  # a hint for a line that is on its way changes nothing
        cpu.work(50 * NS, Activity("user"))
        yield from line.write(cpu)

    run(machine, {0: body})
    assert machine.cpus[0].spent[LINE] == CROSS_SOCKET - 50 * NS + RMW


def test_does_a_queued_prefetch_take_its_turn_once() -> None:
    machine = small_machine()
    line = machine.line("line", owner=0)
    done = {}

    def writer(cpu: Cpu) -> Steps[None]:
        yield from line.write(cpu)
        done[cpu.id] = cpu.now

    def prefetcher(cpu: Cpu) -> Steps[None]:
        yield 1 * NS
        yield from line.prefetch_write(cpu)
        yield from line.prefetch_write(cpu)
        done[cpu.id] = cpu.now

    def late_writer(cpu: Cpu) -> Steps[None]:
        yield 2 * NS
        yield from writer(cpu)

    for number, body in {1: writer, 4: prefetcher, 8: late_writer}.items():
        machine.cpus[number].thread = machine.engine.process(body(machine.cpus[number]))
    machine.engine.run()
    assert done == {1: SAME_CLUSTER, 4: 1 * NS, 8: SAME_CLUSTER + CROSS_CLUSTER + CROSS_SOCKET}


@pytest.mark.parametrize("migratory", [True, False])
def test_is_a_write_behind_a_load_a_request_of_its_own(migratory: bool) -> None:
    """Cpu 1 has written. Where lines do not migrate the load gets a copy, which the write takes back."""
    machine = small_machine({"coherence": {"migratory": migratory}})
    line = machine.line("line", owner=1)
    found = {}

    def body(cpu: Cpu) -> Steps[None]:
        found["apart"] = yield from line.read_to_write(cpu, LINE)
        found["alone"] = line.exclusive_to(cpu)
        if found["apart"]:
            yield from line.write(cpu)

    run(machine, {0: body})
    assert found == {"apart": not migratory, "alone": migratory}
    assert machine.cpus[0].spent[LINE] == SAME_CLUSTER * (1 if migratory else 2)


ORDERED: dict[str, Any] = {"coherence": {"prefetch_ordered": True}}


@pytest.mark.parametrize("probe", [0.0, 0.25])
@pytest.mark.parametrize("rule", ["fifo", "cluster-first"])
def test_does_a_serializing_instruction_wait_for_a_prefetch_that_queues(rule: str, probe: float) -> None:
    """Cpu 0 prefetches while cpu 8 has the line: its turn comes at 200 ns, and takes as long."""
    machine = small_machine(
        {"coherence": {"prefetch_ordered": True, "probe": probe, "order": {"rule": rule}}}
    )
    line = machine.line("line", owner=1)
    at = {}

    def writer(cpu: Cpu) -> Steps[None]:
        yield from line.write(cpu)

    def body(cpu: Cpu) -> Steps[None]:
        cpu.work(10 * NS, Activity("user"))
        yield from line.prefetch_write(cpu)
        cpu.work(5 * NS, Activity("user"))
        yield from line.serialize(cpu, Activity("fault entry"))
        at["back"] = cpu.now
        assert line.exclusive_to(cpu)
        yield from line.serialize(cpu, Activity("fault entry"))  # nothing to wait for any more
        at["again"] = cpu.now

    run(machine, {8: writer, 0: body})
    assert at == {"back": 2 * CROSS_SOCKET, "again": 2 * CROSS_SOCKET}
    assert machine.cpus[0].spent["fault entry"] == 2 * CROSS_SOCKET - 15 * NS


def test_does_a_serializing_instruction_wait_for_the_rest_of_a_transfer() -> None:
    def back(changes: dict[str, Any]) -> int:
        machine = small_machine(changes)
        line = machine.line("line", owner=8)
        at = []

        def body(cpu: Cpu) -> Steps[None]:
            yield from line.serialize(cpu, Activity("fault entry"))
            yield from line.prefetch_write(cpu)
            cpu.work(50 * NS, Activity("user"))
            yield from line.serialize(cpu, Activity("fault entry"))
            at.append(cpu.now)

        run(machine, {0: body})
        return at[0]

    assert back(ORDERED) == CROSS_SOCKET
    assert back({}) == 50 * NS


def test_is_a_prefetch_limited_by_the_line_where_all_wait_for_it() -> None:
    """Threads that have other work to do: without the wait they are as fast as one, with it the line is."""

    def takes(changes: dict[str, Any]) -> int:
        machine = small_machine(changes)
        line = machine.line("line")

        def body(cpu: Cpu) -> Steps[None]:
            for _ in range(20):
                yield from line.prefetch_write(cpu)
                cpu.work(100 * NS, Activity("user"))
                yield from line.serialize(cpu, Activity("fault entry"))

        run(machine, dict.fromkeys((0, 4, 8, 12), body))
        return machine.engine.now

    assert takes({}) < 20 * 100 * NS + 4 * CROSS_SOCKET
    assert takes(ORDERED) > 20 * 4 * CROSS_CLUSTER


@pytest.mark.parametrize("probe", [0.0, 0.25])
@pytest.mark.parametrize("access", ["write", "read"])
def test_does_an_access_join_the_prefetch_that_waits_for_its_turn(access: str, probe: float) -> None:
    """Cpu 0's access takes no turn of its own behind cpu 4, which came between prefetch and access."""
    machine = small_machine({"coherence": {"probe": probe}})
    line = machine.line("line", owner=1)
    done = {}

    def writer(cpu: Cpu) -> Steps[None]:
        yield (0 if cpu.id == 8 else 20) * NS
        yield from line.write(cpu)
        done[cpu.id] = cpu.now

    def body(cpu: Cpu) -> Steps[None]:
        yield 10 * NS
        yield from line.prefetch_write(cpu)
        yield 20 * NS
        yield from getattr(line, access)(cpu)
        done[cpu.id] = cpu.now

    for number, each in {8: writer, 0: body, 4: writer}.items():
        machine.cpus[number].thread = machine.engine.process(each(machine.cpus[number]))
    machine.engine.run()
    assert done == {8: CROSS_SOCKET, 0: 2 * CROSS_SOCKET, 4: 2 * CROSS_SOCKET + CROSS_CLUSTER}
