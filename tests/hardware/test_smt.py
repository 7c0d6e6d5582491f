"""What do two siblings of a core cost each other?"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from kernels import BASE, KINDS, Process
from machines import NS, Body, run, small_machine

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine, SmtCpu
from sim.mm import Mmap, Munmap
from sim.sync import Scheduler
from sim.sync.sleeper import Sleeper

SLOWDOWN = 1.6
SMT: dict[str, Any] = {"topology": {"threads_per_core": 2, "smt_slowdown": SLOWDOWN}}
SIBLING = 16
"""Of cpu 0: the 16 cores' first threads come first."""


def working(machine: Machine, pieces: int, each: int) -> Body:
    def body(cpu: Cpu) -> Steps[None]:
        for _ in range(pieces):
            cpu.work(each, Activity("user"))
            yield cpu.take_pending()

    return body


@pytest.mark.parametrize("slowdown", [1.0, 1.4, 1.6, 2.0])
def test_is_the_throughput_of_a_pair_two_over_the_slowdown(slowdown: float) -> None:
    machine = small_machine({"topology": {"threads_per_core": 2, "smt_slowdown": slowdown}})
    run(machine, dict.fromkeys((0, SIBLING), working(machine, 100, 50 * NS)))
    alone = 100 * 50 * NS
    assert 2 * alone / machine.engine.now == pytest.approx(2 / slowdown)


@pytest.mark.parametrize(("siblings", "slower"), [(2, 1.6), (3, 2.2), (4, 2.8)])
def test_does_each_further_sibling_add_as_much_again(siblings: int, slower: float) -> None:
    machine = small_machine({"topology": {"threads_per_core": 4, "smt_slowdown": SLOWDOWN}})
    run(machine, {16 * number: working(machine, 10, 50 * NS) for number in range(siblings)})
    assert machine.engine.now == 500 * NS * slower


def test_do_cores_beside_each_other_slow_nothing() -> None:
    machine = small_machine(SMT)
    run(machine, dict.fromkeys((0, 1, 2), working(machine, 10, 50 * NS)))
    assert machine.engine.now == 500 * NS


def test_is_only_work_beside_a_working_sibling_slowed() -> None:
    """The sibling works for 100 ns of its own (160), ends, and leaves the core alone."""
    machine = small_machine(SMT)
    run(machine, {0: working(machine, 10, 100 * NS), SIBLING: working(machine, 1, 100 * NS)})
    # Pieces that begin at 0 and at 160 (the first instant at which the sibling may be gone: it began later).
    assert machine.cpus[0].spent["user"] == 2 * 160 * NS + 8 * 100 * NS
    assert machine.cpus[SIBLING].spent["user"] == 160 * NS


def test_does_a_sibling_that_waits_cost_nothing() -> None:
    machine = small_machine(SMT)

    def waiting(cpu: Cpu) -> Steps[None]:
        yield from cpu.park("the end", Activity("wait"))

    def working_then_waking(cpu: Cpu) -> Steps[None]:
        yield 1  # the sibling waits by now
        cpu.charge(1, Activity("user"))
        yield from working(machine, 10, 100 * NS)(cpu)
        machine.cpus[SIBLING].poke("the end")

    run(machine, {0: working_then_waking, SIBLING: waiting})
    assert machine.cpus[0].spent["user"] == 1000 * NS + 1


@pytest.mark.parametrize(("share", "slower"), [(0, 1.0), (0.5, 1.3), (1, SLOWDOWN)])
def test_does_a_sibling_that_spins_take_its_share(share: float, slower: float) -> None:
    """A waiter in a loop of PAUSEs slows work; one that sleeps, or whose load has not come, does not."""
    topology = {**SMT["topology"], "smt_spin_share": share}
    machine = small_machine({"topology": topology})
    scheduler, line = Scheduler(machine), machine.line("line")

    def spinning(cpu: Cpu) -> Steps[None]:
        yield from cpu.park("a lock", Activity("spin"))

    def sleeping(cpu: Cpu) -> Steps[None]:
        yield from scheduler.sleep(cpu, Sleeper(cpu, "a reason"), Activity("sleep"))

    def loading(cpu: Cpu) -> Steps[None]:
        yield 1000 * NS  # behind somebody who has the line for long
        yield from line.write(cpu)

    def slowed_by(body: Body) -> float:
        def worker(cpu: Cpu) -> Steps[None]:
            yield 5000 * NS  # the sibling waits by now
            before = cpu.spent["user"]
            cpu.work(100 * NS, Activity("user"))
            times.append((cpu.spent["user"] - before) / (100 * NS))

        times: list[float] = []
        machine.engine.process(worker(machine.cpus[0]), "worker")
        machine.cpus[SIBLING].thread = machine.engine.process(body(machine.cpus[SIBLING]), "sibling")
        machine.engine.run(until=machine.engine.now + 9000 * NS)
        return times[0]

    assert slowed_by(spinning) == pytest.approx(slower)
    assert slowed_by(sleeping) == 1.0
    line.busy_until = machine.engine.now + 20_000 * NS
    assert slowed_by(loading) == 1.0


@pytest.mark.parametrize(("work", "wait"), [(100, 20), (100, 100), (100, 500)])
def test_is_the_rate_that_of_two_threads_that_share_a_core(work: int, wait: int) -> None:
    """Two threads that work and wait for exponential times, against the exact Markov chain: with k of them
    at work, one more comes at (2 - k) / wait, and one ends at 1 / work or, of both, at 2 / (work * slowdown).

    A piece of work is slowed as a whole or not at all, which costs up to 2 %.
    """
    machine, random, length = small_machine(SMT), Random(1), 1_000_000 * NS
    done = 0

    def body(cpu: Cpu) -> Steps[None]:
        nonlocal done
        while cpu.now < length:
            cpu.work(int(random.expovariate(1) * work * NS), Activity("user"))
            yield cpu.take_pending()
            pause = int(random.expovariate(1) * wait * NS)
            machine.engine.call_in(pause, lambda: cpu.poke("a pause"))
            yield from cpu.park("a pause", Activity("wait"))
            done += 1

    run(machine, {0: body, SIBLING: body})
    one = 2 * work / wait  # relative to none at work
    both = one * work * SLOWDOWN / wait / 2
    expected = (one / work + both * 2 / (work * SLOWDOWN)) / (1 + one + both)
    assert done / (length / NS) == pytest.approx(expected, rel=0.03)


def test_are_transfers_as_long_beside_a_working_sibling() -> None:
    machine = small_machine(SMT)
    line = machine.line("line", owner=4)

    def taking(cpu: Cpu) -> Steps[None]:
        yield from line.write(cpu)
        yield from machine.memory.clear_page(cpu, 0)

    run(machine, {0: taking, SIBLING: working(machine, 10, 1000 * NS)})
    assert machine.cpus[0].spent["cache line"] == 100 * NS
    assert machine.cpus[0].spent["zero"] == 400 * NS


def test_do_two_siblings_share_what_their_core_can_write() -> None:
    """4096 bytes at 10.24 GB/s are 400 ns: two siblings get a page every 400 ns, two cores every 200."""
    changes = {**SMT, "memory": {"cluster_read": "81.92 GB/s", "core_write": "10.24 GB/s"}}

    def time(cpus: tuple[int, int]) -> int:
        machine = small_machine(changes)

        def clearing(cpu: Cpu) -> Steps[None]:
            for _ in range(4):
                yield from machine.memory.clear_page(cpu, 0)

        run(machine, dict.fromkeys(cpus, clearing))
        return machine.engine._now

    assert time((0, SIBLING)) == 8 * 400 * NS
    assert time((0, 1)) == 4 * 400 * NS


def test_do_machines_without_working_siblings_keep_the_plain_cpu() -> None:
    plain = [
        small_machine(),
        small_machine(SMT, online=16),
        small_machine({"topology": {**SMT["topology"], "smt_slowdown": 1.0}}),
    ]
    assert not any(isinstance(cpu, SmtCpu) for machine in plain for cpu in machine.cpus)
    some = small_machine(SMT, online=17)
    assert [cpu.id for cpu in some.cpus if isinstance(cpu, SmtCpu)] == [0, 16]
    pinned = small_machine(SMT, online=4, order=[3, 19, 4, 5])
    assert [cpu.id for cpu in pinned.cpus if isinstance(cpu, SmtCpu)] == [0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_do_accounts_balance_under_waiting_interrupts_and_work(seed: int) -> None:
    """`run` closes every account, which must hold to the picosecond."""
    machine = small_machine(SMT, seed=seed, order=[0, 16, 1, 17, 8, 24], online=6)
    line = machine.line("line")
    random = Random(seed)

    def body(cpu: Cpu) -> Steps[None]:
        for _ in range(30):
            step = random.randrange(4)
            if step == 0:
                cpu.work(random.randrange(1000), Activity("user"))
            elif step == 1:
                yield from line.write(cpu)
            elif step == 2:
                yield from machine.memory.clear_page(cpu, random.randrange(2))
            else:
                others = [other for other in machine.cpus if other is not cpu]
                round_ = yield from machine.interrupts.start(cpu, others, lambda target: 40 * NS)
                cpu.work(100, Activity("own part"))
                yield from machine.interrupts.finish(round_)

    run(machine, dict.fromkeys(range(6), body))


@pytest.mark.parametrize("kind", KINDS)
def test_does_every_design_run_on_siblings(kind: str) -> None:
    """Eight threads on four cores map, touch and unmap; the process verifies tables, TLBs and frames."""
    machine = {"topology": {**SMT["topology"], "cores_per_cluster": 1}}
    process = Process(kind, cpus=8, machine=machine)
    assert all(isinstance(cpu, SmtCpu) for cpu in process.cpus)

    def body(cpu: Cpu) -> Steps[None]:
        at = BASE + 16 * cpu.id
        yield from process.space.perform(cpu, Mmap(4, at))
        for page in range(at, at + 4):
            yield from process.space.access(cpu, page)
        yield from process.space.perform(cpu, Munmap(at, 4))

    process.run(dict.fromkeys(range(8), body))


def _order(joins: bool, kinds: dict[int, str]) -> list[int]:
    """Who gets a line in which order: they come to it one after the other while another core has it."""
    machine = small_machine({**SMT, "coherence": {"siblings_join": joins, "sibling": "3 ns", "spread": 0}})
    line = machine.line("line", owner=1)
    order: list[int] = []

    def body(number: int) -> Body:
        def takes(cpu: Cpu) -> Steps[None]:
            yield 1 + list(kinds).index(cpu.id) * NS
            cpu.charge(machine.engine.now, Activity("user"))
            yield from (line.read if kinds[cpu.id] == "R" else line.write)(cpu)
            order.append(cpu.id)

        return takes

    run(machine, {number: body(number) for number in kinds})
    return order


def test_does_a_sibling_join_a_miss_of_its_core() -> None:
    """Cpu 2 comes first and takes its time; 0 queues, then 3, then the sibling of 0."""
    come = dict.fromkeys((2, 0, 3, SIBLING), "W")
    assert _order(joins=True, kinds=come) == [2, 0, SIBLING, 3]
    assert _order(joins=False, kinds=come) == [2, 0, 3, SIBLING]


def test_does_a_miss_for_reading_not_bring_a_line_for_writing() -> None:
    """A write beside a read that waits is a miss of its own; a read joins a write."""
    assert _order(joins=True, kinds={2: "W", 0: "R", 3: "W", SIBLING: "W"}) == [2, 0, 3, SIBLING]
    assert _order(joins=True, kinds={2: "W", 0: "W", 3: "W", SIBLING: "R"}) == [2, 0, SIBLING, 3]


def test_does_each_miss_let_siblings_in_once() -> None:
    """Two siblings that want a line again and again do not keep it from a third cpu."""
    machine = small_machine({**SMT, "coherence": {"siblings_join": True, "sibling": "3 ns", "spread": 0}})
    line = machine.line("line", owner=1)
    counts = dict.fromkeys((0, SIBLING, 3), 0)

    def body(cpu: Cpu) -> Steps[None]:
        while machine.engine.now < 20_000 * NS:
            yield from line.write(cpu)
            counts[cpu.id] += 1

    run(machine, dict.fromkeys(counts, body))
    assert counts[0] == pytest.approx(counts[SIBLING], rel=0.05)
    assert counts[3] == pytest.approx(counts[0], rel=0.05)
