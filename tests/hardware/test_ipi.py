"""How long does a call on other cpus take, and what does it cost whom?"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import CROSS_CLUSTER, CROSS_SOCKET, HIT, NS, SAME_CLUSTER, Body, run, small_machine

from sim.engine import Activity, Probe, Steps
from sim.hardware import INTERRUPT, IPI_SEND, IPI_WAIT, Cpu, Machine

SEND, ICR, HANDLER, CALL = 50 * NS, 100 * NS, 400 * NS, 40 * NS
NEAR, FAR = 300 * NS, 500 * NS
CALL_LINES = 2 * SAME_CLUSTER
"""What a call from a neighbour brings with it: its descriptor and what it is about."""


def queueing(*distances: int) -> int:
    """What a sender pays until its calls on targets at such *distances* are queued."""
    return SEND + HIT + 2 * sum(distances)  # what it is about; each target's descriptor and queue


def call_on(machine: Machine, targets: list[int], ends: dict[int, int], own: int = 0, after: int = 0) -> Body:
    """After *after* ps of work, call a function on *targets*, do *own* ps of work, wait for the acks."""

    def body(cpu: Cpu) -> Steps[None]:
        cpu.work(after, Activity("user"))
        cpus = [machine.cpus[target] for target in targets]
        round_ = yield from machine.interrupts.start(cpu, cpus, lambda target: CALL)
        cpu.work(own, Activity("own part"))
        yield from machine.interrupts.finish(round_)
        ends[cpu.id] = cpu.now

    return body


def busy(cpu: Cpu) -> Steps[None]:
    cpu.work(5000 * NS, Activity("user"))
    yield cpu.take_pending()


@pytest.mark.parametrize(
    ("target", "distance", "deliver"),
    [(1, SAME_CLUSTER, NEAR), (4, CROSS_CLUSTER, NEAR), (8, CROSS_SOCKET, FAR)],
)
def test_is_a_round_trip_the_sum_of_its_parts(target: int, distance: int, deliver: int) -> None:
    machine = small_machine()
    ends: dict[int, int] = {}
    run(machine, {0: call_on(machine, [target], ends), target: busy})
    sent = queueing(distance) + ICR
    handler = HANDLER + 3 * distance + CALL
    acks = distance // 2
    assert ends[0] == sent + deliver + handler + acks
    sender, receiver = machine.cpus[0].spent, machine.cpus[target].spent
    assert (sender[IPI_SEND], sender[IPI_WAIT]) == (sent, deliver + handler + acks)
    assert (receiver["user"], receiver[INTERRUPT]) == (5000 * NS, handler)


def test_are_icr_groups_those_of_the_machines_own_numbers() -> None:
    """Four targets a write: cpus 1-3 take one, and three that sit at 4, 8 and 12 take one each."""

    def sent(order: list[int]) -> int:
        machine = small_machine(
            {"coherence": {"same_cluster": "100 ns", "cross_socket": "100 ns"}}, order=order
        )
        run(machine, {0: call_on(machine, [1, 2, 3], {}), 1: busy, 2: busy, 3: busy})
        return machine.cpus[0].spent[IPI_SEND]

    assert sent([0, 1, 2, 3]) == queueing(*[CROSS_CLUSTER] * 3) + ICR
    assert sent([0, 4, 8, 12]) == queueing(*[CROSS_CLUSTER] * 3) + 3 * ICR


def test_does_the_sender_do_its_own_part_meanwhile() -> None:
    def end(own: int) -> int:
        machine = small_machine()
        ends: dict[int, int] = {}
        run(machine, {0: call_on(machine, [1], ends, own)})
        return ends[0]

    assert end(own=500 * NS) == end(own=0)
    assert end(own=5000 * NS) == queueing(SAME_CLUSTER) + ICR + 5000 * NS + SAME_CLUSTER // 2


def test_does_one_icr_write_reach_a_group() -> None:
    """Four targets a write: cpus 1-3 and 4-7 are two writes, 1, 5, 9, 13 are four."""
    costs = {}
    for targets in ([1, 2, 3, 4, 5, 6, 7], [1, 5, 9, 13]):
        machine = small_machine()
        run(machine, {0: call_on(machine, targets, {})})
        lines = [SAME_CLUSTER if t < 4 else CROSS_CLUSTER if t < 8 else CROSS_SOCKET for t in targets]
        costs[len(targets)] = machine.cpus[0].spent[IPI_SEND] - queueing(*lines)
        assert machine.tally.ipis == machine.tally.calls == len(targets)
    assert costs == {7: 2 * ICR, 4: 4 * ICR}


def test_does_a_call_on_nobody_wait_for_nobody() -> None:
    machine = small_machine()
    ends: dict[int, int] = {}
    run(machine, {0: call_on(machine, [], ends)})
    assert ends == {0: SEND}


def test_does_the_slowest_target_end_the_wait() -> None:
    def end(targets: list[int]) -> int:
        machine = small_machine()
        ends: dict[int, int] = {}
        run(machine, {0: call_on(machine, targets, ends)})
        return ends[0] - (SAME_CLUSTER + CROSS_SOCKET) // 2

    handler = HANDLER + 3 * CROSS_SOCKET + CALL
    assert end([1, 8]) == queueing(SAME_CLUSTER, CROSS_SOCKET) + 2 * ICR + FAR + handler


def test_does_an_ack_wait_for_a_cpu_with_interrupts_off() -> None:
    machine = small_machine()
    ends: dict[int, int] = {}

    def section(cpu: Cpu) -> Steps[None]:
        cpu.disable_interrupts()
        cpu.work(3000 * NS, Activity("section"))
        yield cpu.take_pending()
        cpu.enable_interrupts()
        cpu.work(10 * NS, Activity("user"))
        yield cpu.take_pending()
        ends[cpu.id] = cpu.now

    run(machine, {0: call_on(machine, [1], ends), 1: section})
    handler = HANDLER + SAME_CLUSTER + CALL_LINES + CALL
    assert ends == {0: 3000 * NS + handler + SAME_CLUSTER // 2, 1: 3010 * NS + handler}


def test_does_a_target_that_answers_last_but_ends_first_not_end_the_wait() -> None:
    """Cpu 1 has taken the call but runs a long handler before it; cpu 8 is farther away and done sooner."""
    machine = small_machine()
    ends: dict[int, int] = {}
    machine.engine.call_in(0, lambda: machine.cpus[1].interrupt(lambda cpu: (5000 * NS, lambda end: None)))
    run(machine, {0: call_on(machine, [1, 8], ends)})
    handler = HANDLER + SAME_CLUSTER + CALL_LINES + CALL
    assert ends[0] == 5000 * NS + handler + (SAME_CLUSTER + CROSS_SOCKET) // 2


def test_does_a_queue_that_is_not_empty_need_no_second_interrupt() -> None:
    """Cpu 2 calls while cpu 0's interrupt is on its way: one handler runs both calls."""
    machine = small_machine()
    ends: dict[int, int] = {}
    run(
        machine,
        {0: call_on(machine, [1], ends), 2: call_on(machine, [1], ends, after=100 * NS), 1: busy},
    )
    assert (machine.tally.calls, machine.tally.ipis) == (2, 1)
    arrives = queueing(SAME_CLUSTER) + ICR + NEAR
    descriptors = 2 * SAME_CLUSTER  # the handler has gone through both before the first call
    first = arrives + HANDLER + SAME_CLUSTER + descriptors + SAME_CLUSTER + CALL
    assert machine.cpus[1].spent[INTERRUPT] == HANDLER + SAME_CLUSTER + 2 * (CALL_LINES + CALL)
    assert ends[0] == first + SAME_CLUSTER // 2
    assert ends[2] == first + SAME_CLUSTER + CALL + SAME_CLUSTER // 2


def test_does_a_call_after_the_handler_has_begun_need_an_interrupt_of_its_own() -> None:
    machine = small_machine()
    ends: dict[int, int] = {}
    run(
        machine,
        {0: call_on(machine, [1], ends), 2: call_on(machine, [1], ends, after=1000 * NS), 1: busy},
    )
    assert (machine.tally.calls, machine.tally.ipis) == (2, 2)


def test_is_a_queue_joined_when_the_sender_gets_to_it() -> None:
    """A sender with many targets reaches the last ones late: another's interrupt has come and gone."""
    machine = small_machine()
    ends: dict[int, int] = {}
    everybody = [cpu for cpu in range(16) if cpu != 8]
    run(machine, {8: call_on(machine, everybody, ends), 14: call_on(machine, [15], ends)})
    assert machine.tally.ipis == machine.tally.calls == 16


def test_do_interrupts_that_come_during_a_handler_become_one_with_the_whole_queue() -> None:
    """Cpu 1's handler for cpu 0 runs for 530 ns; cpus 2, 3 and 4 call meanwhile: one more interrupt."""
    machine = small_machine()
    ends: dict[int, int] = {}
    calls = {sender: call_on(machine, [1], ends, after=500 * NS) for sender in (2, 3, 4)}
    run(machine, {0: call_on(machine, [1], ends), **calls, 1: busy})
    assert (machine.tally.calls, machine.tally.ipis) == (4, 2)
    first = queueing(SAME_CLUSTER) + ICR + NEAR + HANDLER + SAME_CLUSTER + CALL_LINES + CALL
    assert ends[0] == first + SAME_CLUSTER // 2
    # The queue's line comes from cpu 4, the last to join; its call's lines too.
    descriptors = 2 * SAME_CLUSTER + CROSS_CLUSTER
    second = first + HANDLER + CROSS_CLUSTER + descriptors + SAME_CLUSTER + CALL
    assert ends[2] == second + SAME_CLUSTER // 2
    assert ends[3] == second + SAME_CLUSTER + CALL + SAME_CLUSTER // 2
    assert ends[4] == second + SAME_CLUSTER + CROSS_CLUSTER + 2 * CALL + CROSS_CLUSTER // 2


def test_does_an_interrupt_that_comes_between_two_calls_wait_for_the_last() -> None:
    """Cpu 1 has a second call to do when cpu 3's interrupt comes: that is taken after it, not in between."""
    machine = small_machine()
    ends: dict[int, int] = {}
    begun: list[tuple[int, int]] = []

    class Handlers(Probe):
        def ipi_handle(self, cpu: object, calls: Sequence[object]) -> None:
            begun.append((machine.engine.now, len(calls)))

    machine = small_machine(listeners=[Handlers()])
    calls = {2: call_on(machine, [1], ends, after=100 * NS), 3: call_on(machine, [1], ends, after=600 * NS)}
    run(machine, {0: call_on(machine, [1], ends), **calls, 1: busy})
    first = queueing(SAME_CLUSTER) + ICR + NEAR
    both = HANDLER + SAME_CLUSTER + 2 * (CALL_LINES + CALL)
    assert begun == [(first, 2), (first + both, 1)]


def test_do_senders_wait_for_each_other_at_the_queue_of_one_target() -> None:
    """Three cpus that ask a fourth at the same moment have its queue's line one after the other."""

    def sent(senders: Sequence[int]) -> list[int]:
        machine = small_machine()
        run(machine, {sender: call_on(machine, [3], {}) for sender in senders} | {3: busy})
        return [machine.cpus[sender].spent[IPI_SEND] for sender in senders]

    alone, *_ = sent([0])
    assert sent([0, 1, 2]) == [alone, alone + SAME_CLUSTER - ICR, alone + 2 * SAME_CLUSTER - ICR]


def test_does_what_carries_interrupts_take_one_after_the_other() -> None:
    """Four cpus interrupt one each at the same moment: each interrupt has to wait for those before it."""

    def waits(carry: str) -> list[int]:
        machine = small_machine({"interrupts": {"carry": carry}})
        pairs = {0: 1, 2: 3, 4: 5, 6: 7}
        run(machine, {sender: call_on(machine, [target], {}) for sender, target in pairs.items()})
        return [machine.cpus[sender].spent[IPI_WAIT] for sender in pairs]

    free, *others = waits("0 ns")
    assert others == [free] * 3
    assert waits("700 ns") == [free + turn * 700 * NS for turn in range(4)]


def test_does_an_interrupt_that_is_not_sent_occupy_nothing() -> None:
    """Cpu 2's call finds a queue that is not empty: the next interrupt waits for cpu 0's only."""
    machine = small_machine({"interrupts": {"carry": "200 ns"}})
    ends: dict[int, int] = {}
    calls = {2: call_on(machine, [1], ends, after=20 * NS), 4: call_on(machine, [5], ends, after=30 * NS)}
    run(machine, {0: call_on(machine, [1], ends), **calls})
    assert machine.tally.ipis == 2
    sent = queueing(SAME_CLUSTER) + ICR
    arrives = sent + 200 * NS + NEAR
    assert ends[4] == arrives + HANDLER + SAME_CLUSTER + CALL_LINES + CALL + SAME_CLUSTER // 2


def test_do_busy_siblings_make_code_at_both_ends_longer() -> None:
    """1.5 times: what the sender executes for each of two targets, and entry and exit of a handler."""

    def spent(code: int, *, busy_siblings: bool) -> tuple[int, int]:
        machine = small_machine({"topology": {"threads_per_core": 2, "smt_slowdown": 1.5}})
        sender, target, second = (machine.cpus[core * 2] for core in range(3))
        siblings = [other.id for cpu in (sender, target) for other in cpu.siblings]

        def body(cpu: Cpu) -> Steps[None]:
            round_ = yield from machine.interrupts.start(cpu, [target, second], lambda cpu: CALL, code=code)
            yield from machine.interrupts.finish(round_)

        run(machine, {sender.id: body} | dict.fromkeys(siblings if busy_siblings else [], busy))
        return sender.spent[IPI_SEND], target.spent[INTERRUPT]

    bare, handled = spent(0, busy_siblings=False)
    assert spent(100 * NS, busy_siblings=False) == (bare + 2 * 100 * NS, handled)
    bare, slowed = spent(0, busy_siblings=True)
    assert spent(100 * NS, busy_siblings=True) == (bare + 2 * 150 * NS, slowed)
    assert slowed - handled == HANDLER // 2


def test_do_targets_share_what_a_call_is_about() -> None:
    """The second of two neighbours has it from the first, as soon as that has it."""
    machine = small_machine()
    took: dict[int, int] = {}
    run(machine, {0: call_on(machine, [8, 9], {}), 8: busy, 9: busy})
    for target in (8, 9):
        took[target] = machine.cpus[target].spent[INTERRUPT] - HANDLER - 2 * CROSS_SOCKET - CALL
    assert took == {8: CROSS_SOCKET, 9: CROSS_SOCKET + SAME_CLUSTER}


@pytest.mark.parametrize("target", [1, 4, 8])
def test_are_descriptors_priced_as_accesses_to_their_lines(target: int) -> None:
    """A real line: read and written with the ack by the target, read by the sender, written again by it."""
    machine = small_machine({"interrupts": {"ack_overlap": 0.0}})
    ends: dict[int, int] = {}
    run(machine, {0: call_on(machine, [target], ends), target: busy})
    distance = machine.fabric.between(0, target)
    handled = machine.cpus[target].spent[INTERRUPT]
    priced = (
        handled - HANDLER - CALL - 2 * distance,  # the queue's line, and what the call is about
        machine.cpus[0].spent[IPI_WAIT] - handled - (FAR if target > 7 else NEAR),
        machine.cpus[0].spent[IPI_SEND] - SEND - HIT - distance - ICR,
    )
    machine = small_machine()
    line = machine.line("descriptor", machine.cpus[target].socket, owner=0)
    costs: list[int] = []

    def taken(cpu: Cpu) -> Steps[None]:
        yield from line.read(cpu, Activity("descriptor"))
        costs.append(cpu.take_pending())
        yield costs[-1]
        yield from line.write(cpu, Activity("ack"))  # Before the handler's exit, in its 400 ns.

    def sends(cpu: Cpu) -> Steps[None]:
        cpu.work(2000 * NS, Activity("user"))
        yield from line.read(cpu, Activity("ack"))
        costs.append(cpu.take_pending())
        yield costs[-1]
        yield from line.write(cpu, Activity("next call"))
        costs.append(cpu.pending)

    run(machine, {0: sends, target: taken})
    assert tuple(costs) == priced


@pytest.mark.parametrize(
    ("topology", "groups"),
    [
        ({"cores_per_cluster": 4}, [(0, 16)]),
        (
            {"clusters_per_socket": 1, "cores_per_cluster": 24},
            [(0, 16), (16, 24), (24, 40), (40, 48)],
        ),
        (
            {"clusters_per_socket": 3, "cores_per_cluster": 6},
            [(0, 12), (12, 18), (18, 30), (30, 36)],
        ),
    ],
)
def test_do_groups_follow_apic_ids(topology: dict[str, int], groups: list[tuple[int, int]]) -> None:
    """A socket's and a cluster's ids begin at a power of two, whatever the number of cores."""
    shape = {"sockets": 2, "clusters_per_socket": 2, "numa_nodes": 2, **topology}
    machine = small_machine({"topology": shape, "interrupts": {"targets_per_icr": 16}})
    found: dict[int, list[int]] = {}
    for cpu in machine.cpus:
        found.setdefault(machine.spec.topology.apic_id(cpu.id) // 16, []).append(cpu.id)
    assert list(found.values()) == [list(range(*group)) for group in groups]
    targets = list(range(1, len(machine.cpus)))
    run(machine, {0: call_on(machine, targets, {})})
    lines = [machine.fabric.between(0, target) for target in targets]
    assert machine.cpus[0].spent[IPI_SEND] == queueing(*lines) + len(groups) * ICR


def test_are_siblings_and_interleaved_cores_numbered_by_where_they_sit() -> None:
    shape: dict[str, float] = {
        "sockets": 2,
        "clusters_per_socket": 1,
        "cores_per_cluster": 2,
        "threads_per_core": 2,
    }
    shape["smt_slowdown"] = 1.5
    plain = small_machine({"topology": shape}).spec.topology
    assert [plain.apic_id(cpu) for cpu in range(8)] == [0, 2, 4, 6, 1, 3, 5, 7]
    interleaved = small_machine({"topology": {**shape, "interleaved": True}}).spec.topology
    assert [interleaved.apic_id(cpu) for cpu in range(8)] == [0, 4, 2, 6, 1, 5, 3, 7]


def test_does_each_target_of_one_write_get_it_after_its_own_way() -> None:
    """One group over both sockets: the far cpu's handler begins 200 ns later."""
    machine = small_machine({"interrupts": {"targets_per_icr": 16}})
    began: dict[int, int] = {}

    def body(cpu: Cpu) -> Steps[None]:
        def note(target: Cpu) -> int:
            began[target.id] = target.engine.now
            return 0

        round_ = yield from machine.interrupts.start(cpu, [machine.cpus[1], machine.cpus[8]], note)
        yield from machine.interrupts.finish(round_)

    run(machine, {0: body})
    assert began[8] - began[1] == FAR - NEAR


def test_does_a_hypervisor_deliver_to_one_target_after_the_other() -> None:
    """One exit for the write, then 200 ns for each target, which the sender pays."""
    machine = small_machine({"interrupts": {"icr_target": "200 ns"}})
    began: dict[int, int] = {}

    def body(cpu: Cpu) -> Steps[None]:
        def note(target: Cpu) -> int:
            began[target.id] = target.engine.now
            return 0

        round_ = yield from machine.interrupts.start(cpu, machine.cpus[1:4], note)
        yield from machine.interrupts.finish(round_)

    run(machine, {0: body})
    sent = queueing(*[SAME_CLUSTER] * 3) + ICR
    first = sent + 200 * NS + NEAR
    assert began == {1: first, 2: first + 200 * NS, 3: first + 400 * NS}
    assert machine.cpus[0].spent[IPI_SEND] == sent + 3 * 200 * NS


def test_does_a_waiting_sender_take_interrupts_for_free() -> None:
    """Two cpus call each other: each handler fits into the wait."""
    machine = small_machine()
    ends: dict[int, int] = {}
    run(machine, {0: call_on(machine, [1], ends), 1: call_on(machine, [0], ends)})
    handler = HANDLER + SAME_CLUSTER + CALL_LINES + CALL
    for cpu in machine.cpus[:2]:
        assert ends[cpu.id] == queueing(SAME_CLUSTER) + ICR + NEAR + handler + SAME_CLUSTER // 2
        assert cpu.spent[INTERRUPT] == handler
        assert cpu.spent[IPI_WAIT] == NEAR + SAME_CLUSTER // 2


@given(
    plans=st.lists(
        st.lists(
            st.tuples(st.sets(st.integers(0, 15)), st.integers(0, 2_000_000), st.booleans()),
            max_size=4,
        ),
        min_size=1,
        max_size=16,
    ),
    shuffle=st.booleans(),
)
def test_is_every_call_run_once_on_every_target_before_the_sender_goes_on(
    plans: list[list[tuple[set[int], int, bool]]], shuffle: bool
) -> None:
    machine = small_machine(ties="shuffle" if shuffle else "fifo")
    line = machine.line("line")

    def body(cpu: Cpu) -> Steps[None]:
        for wanted, think, section in plans[cpu.id]:
            cpu.work(think, Activity("user"))
            if section:
                cpu.disable_interrupts()
                yield from line.write(cpu)
                cpu.work(1000 * NS, Activity("section"))
                yield cpu.take_pending()
                cpu.enable_interrupts()
            called: list[int] = []

            def note(target: Cpu, called: list[int] = called) -> int:
                called.append(target.id)
                return CALL

            targets = [machine.cpus[target] for target in sorted(wanted - {cpu.id})]
            round_ = yield from machine.interrupts.start(cpu, targets, note)
            yield from machine.interrupts.finish(round_)
            assert sorted(called) == [target.id for target in targets]

    run(machine, dict.fromkeys(range(len(plans)), body))
    assert machine.tally.ipis <= machine.tally.calls
