"""In which order do waiters get a contended line, and does everybody get it?"""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import CROSS_SOCKET, NS, run, small_machine, with_order

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine

RULES = ["fifo", "random", "cluster-first"]


def grants(machine: Machine, arrivals: dict[int, int], *, writes: int = 1) -> list[int]:
    """Each cpu comes at its time and writes so many times; returns who had the line, in order."""
    line = machine.line("line", owner=0)
    order = []

    def body(cpu: Cpu) -> Steps[None]:
        cpu.work(arrivals[cpu.id], Activity("user"))
        for _ in range(writes):
            yield from line.write(cpu)
            order.append(cpu.id)

    run(machine, dict.fromkeys(arrivals, body))
    return order


def test_is_fifo_the_order_of_arrival() -> None:
    arrivals = {cpu: when * NS for when, cpu in enumerate([7, 3, 12, 0, 15, 8, 1])}
    assert grants(small_machine(with_order("fifo")), arrivals) == list(arrivals)


def test_does_random_depend_on_the_seed_and_on_nothing_else() -> None:
    def order(seed: int) -> list[int]:
        return grants(small_machine(with_order("random"), seed=seed), {cpu: cpu for cpu in range(16)})

    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(20)}) == 20


@pytest.mark.ci
def test_does_random_favour_nobody() -> None:
    """Fifteen waiters behind cpu 0: who is next? Expected 100 times each, standard deviation about 10."""
    second: Counter[int] = Counter()
    for seed in range(1500):
        machine = small_machine(with_order("random"), seed=seed)
        second[grants(machine, {cpu: cpu for cpu in range(16)})[1]] += 1
    assert set(second) == set(range(1, 16))
    assert min(second.values()) > 55
    assert max(second.values()) < 145


@pytest.mark.parametrize("streak", [1, 3, 6])
def test_is_the_line_handed_on_inside_a_cluster_at_most_streak_times(streak: int) -> None:
    """A visit is the first grant in a cluster and at most *streak* more, while others wait."""
    machine = small_machine(with_order("cluster-first", streak))
    order = grants(machine, dict.fromkeys(range(16), 0), writes=30)
    visits = [len(list(visit)) for _, visit in groupby(order, key=lambda cpu: cpu // 4)]
    while_others_wait = visits[1:-4]
    assert max(while_others_wait) == streak + 1
    assert Counter(order) == dict.fromkeys(range(16), 30)


def test_does_a_cluster_keep_the_line_while_nobody_outside_waits() -> None:
    machine = small_machine(with_order("cluster-first", 2))
    order = grants(machine, {0: 0, 1: 0, 2: 0, 3: 0, 8: 400 * NS}, writes=10)
    visits = [len(list(visit)) for _, visit in groupby(order, key=lambda cpu: cpu // 4)]
    assert visits[0] > 2 + 1


def test_does_a_line_that_was_idle_begin_a_new_streak() -> None:
    machine = small_machine(with_order("cluster-first", 1))
    first = [1, 2]  # cpu 2 uses up the streak of cluster 0, and nobody waits any longer
    second = [0, 3, 8]
    order = grants(machine, dict.fromkeys(first, 0) | dict(zip(second, range(10**6, 10**6 + 3), strict=True)))
    assert order == [1, 2, 0, 3, 8]


def test_does_cluster_first_pass_over_older_waiters_from_outside() -> None:
    machine = small_machine(with_order("cluster-first", 6))
    assert grants(machine, {4: 0, 8: 1, 12: 2, 5: 3, 6: 4})[:3] == [4, 5, 6]


def test_is_there_a_cost_for_each_visit() -> None:
    """What the order is for: fewer long transfers, so a shorter run than in fifo order."""
    ends = {}
    for rule in RULES:
        machine = small_machine(with_order(rule, 6))
        grants(machine, dict.fromkeys([0, 8, 1, 9, 2, 10, 3, 11], 0), writes=20)
        ends[rule] = machine.engine.now
    assert ends["cluster-first"] < ends["random"] < ends["fifo"]
    assert ends["fifo"] == pytest.approx(160 * CROSS_SOCKET, rel=0.02)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("ties", ["fifo", "shuffle"])
@given(data=st.data())
def test_is_every_waiter_served(rule: str, ties: str, data: st.DataObject) -> None:
    """Writers, readers, prefetches and waits for those: nobody is lost, which would be a deadlock."""
    steps = st.tuples(
        st.sampled_from(["write", "read", "prefetch", "serialize"]), st.sampled_from([0, 1, 30, 100, 170])
    )
    plans = data.draw(st.lists(st.lists(steps, min_size=1, max_size=4), min_size=2, max_size=10))
    changes = with_order(rule, 2)
    changes["coherence"] |= {"prefetch_ordered": True, "probe": data.draw(st.sampled_from([0.0, 0.3]))}
    machine = small_machine(changes, ties=ties, seed=data.draw(st.integers(0, 99)))  # type: ignore[arg-type]
    line = machine.line("line")
    served = 0

    def body(cpu: Cpu) -> Steps[None]:
        nonlocal served
        for kind, wait in plans[cpu.id]:
            cpu.work(wait * NS, Activity("user"))
            if kind == "write":
                yield from line.write(cpu)
                assert line.owner == cpu.id
            elif kind == "read":
                yield from line.read(cpu)
            elif kind == "prefetch":
                yield from line.prefetch_write(cpu)
            else:
                yield from line.serialize(cpu, Activity("line"))
            served += 1

    run(machine, dict.fromkeys(range(len(plans)), body))
    assert served == sum(map(len, plans))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("probe", [0.0, 0.5])
def test_does_a_handlers_load_go_before_those_who_queue_and_make_them_wait(rule: str, probe: float) -> None:
    """Cpu 2 waits for cpu 1's write. The handler of cpu 3 has a copy before cpu 2 writes, and where requests
    travel first, before cpu 1 does."""

    def ends(with_handler: bool) -> tuple[dict[int, int], list[int]]:
        machine = small_machine({"coherence": {"order": {"rule": rule}, "probe": probe}})
        line = machine.line("line", owner=0)
        ended: dict[int, int] = {}
        took: list[int] = []

        def body(cpu: Cpu) -> Steps[None]:
            cpu.work(cpu.id * 5 * NS, Activity("user"))
            yield from line.write(cpu)
            ended[cpu.id] = cpu.now

        if with_handler:
            machine.engine.call_in(20 * NS, lambda: took.append(line.read_in_handler(machine.cpus[3])))
        run(machine, {1: body, 2: body})
        assert not line.held_by(machine.cpus[3])  # cpu 2's write came after it
        return ended, took

    without, _ = ends(with_handler=False)
    with_it, (took,) = ends(with_handler=True)
    assert with_it[2] > without[2]
    if not probe:
        assert with_it[1] == without[1]
        assert 20 * NS + took >= with_it[1]
