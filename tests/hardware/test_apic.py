"""Which cpus one write of the interrupt command register reaches, and what the writes cost the sender."""

from __future__ import annotations

from typing import Any

import pytest
from machines import CROSS_CLUSTER, CROSS_SOCKET, HIT, NS, SAME_CLUSTER, run, small_machine

from sim.engine import Steps
from sim.hardware import INTERRUPT, IPI_SEND, Cpu, Machine

SEND, ICR, NEAR, HANDLER, CALL = 50 * NS, 100 * NS, 300 * NS, 400 * NS, 40 * NS
OTHERS = list(range(1, 16))


def addressed(mode: str, **changes: Any) -> dict[str, Any]:
    return {"interrupts": {"mode": mode, "targets_per_icr": None}, **changes}


def writes(machine: Machine, targets: list[int], *, shorthand: bool = False) -> int:
    """How many writes cpu 0 pays for to call *targets*."""

    def body(cpu: Cpu) -> Steps[None]:
        cpus = [machine.cpus[target] for target in targets]
        round_ = yield from machine.interrupts.start(cpu, cpus, lambda target: CALL, shorthand=shorthand)
        yield from machine.interrupts.finish(round_)

    run(machine, {0: body})
    between = machine.fabric.between
    queued = SEND + (HIT if targets else 0) + 2 * sum(between(0, target) for target in targets)
    count, rest = divmod(machine.cpus[0].spent[IPI_SEND] - queued, ICR)
    assert not rest
    assert machine.tally.ipis == len(targets)
    return count


@pytest.mark.parametrize(
    ("mode", "targets", "expected"),
    [
        ("physical flat", [1], 1),
        ("physical flat", [1, 2, 3, 9], 4),
        ("physical x2apic", OTHERS, 15),
        ("cluster x2apic", [1], 1),
        ("cluster x2apic", OTHERS, 1),
    ],
)
def test_how_many_writes_does_a_mode_take(mode: str, targets: list[int], expected: int) -> None:
    assert writes(small_machine(addressed(mode)), targets) == expected


def test_are_the_clusters_of_a_bigger_machine_16_ids_each() -> None:
    """24 cores a socket have 32 ids: cpus up to 15, 23, 39 and 47 of the 48 share a write."""
    shape = {"sockets": 2, "clusters_per_socket": 1, "cores_per_cluster": 24, "numa_nodes": 2}
    machine = small_machine(addressed("cluster x2apic", topology=shape))
    assert writes(machine, [1, 15, 16, 23, 24, 40, 47]) == 4


def test_does_a_flat_apic_reach_its_eight_cpus_with_one_write() -> None:
    shape = {"sockets": 1, "clusters_per_socket": 4, "cores_per_cluster": 2, "numa_nodes": 1}
    machine = small_machine(addressed("flat", topology=shape))
    assert machine.spec.cpus == 8
    assert writes(machine, [1, 4, 7]) == 1


@pytest.mark.parametrize("mode", ["physical flat", "cluster x2apic", "physical x2apic"])
def test_does_the_shorthand_reach_everybody_with_one_write(mode: str) -> None:
    assert writes(small_machine(addressed(mode)), OTHERS, shorthand=True) == 1


def test_is_the_shorthand_for_everybody_only() -> None:
    mode = addressed("physical flat")
    assert writes(small_machine(mode), OTHERS[:-1], shorthand=True) == 14
    assert writes(small_machine(mode), OTHERS, shorthand=False) == 15


def test_does_everybody_include_the_cpus_that_a_run_leaves_out() -> None:
    """Four cpus are simulated of 16: all of the four are not everybody."""
    machine = small_machine(addressed("physical flat"), online=4)
    assert writes(machine, [1, 2, 3], shorthand=True) == 3


def test_does_the_shorthand_leave_out_who_has_been_interrupted_already() -> None:
    """A queue that is not empty needs no interrupt, so the others are addressed one by one."""
    machine = small_machine(addressed("physical flat"))
    machine.interrupts._queues[1].append(None)  # type: ignore[arg-type]
    to_interrupt = [cpu for cpu in machine.cpus[1:] if not machine.interrupts._queues[cpu.id]]
    addressing = machine.interrupts._addressing
    assert [list(group) for group in addressing.writes(to_interrupt, shorthand=True)] == [
        [cpu] for cpu in machine.cpus[2:]
    ]


def test_do_targets_of_physical_mode_begin_one_write_after_the_other() -> None:
    machine = small_machine(addressed("physical flat"))
    began: dict[int, int] = {}

    def body(cpu: Cpu) -> Steps[None]:
        def note(target: Cpu) -> int:
            began[target.id] = target.engine.now
            return 0

        round_ = yield from machine.interrupts.start(cpu, machine.cpus[1:4], note)
        yield from machine.interrupts.finish(round_)

    run(machine, {0: body})
    first = SEND + HIT + 6 * SAME_CLUSTER + ICR + NEAR
    assert began == {1: first, 2: first + ICR, 3: first + 2 * ICR}


def test_does_a_sender_take_no_interrupt_before_it_has_sent_its_own() -> None:
    """Cpu 0 writes for 15 x 100 ns. Cpu 1 calls it so that the interrupt comes within these."""
    machine = small_machine(addressed("physical flat"))
    handled: list[int] = []
    sent = SEND + HIT + 2 * (3 * SAME_CLUSTER + 4 * CROSS_CLUSTER + 8 * CROSS_SOCKET)

    def storm(cpu: Cpu) -> Steps[None]:
        round_ = yield from machine.interrupts.start(cpu, machine.cpus[1:], lambda target: CALL)
        yield from machine.interrupts.finish(round_)

    def note(cpu: Cpu) -> tuple[int, Any]:
        handled.append(cpu.now)
        return HANDLER, lambda end: None

    machine.engine.call_in(sent - 10 * NS, lambda: machine.cpus[0].interrupt(note))
    run(machine, {0: storm})
    assert handled == [sent - 10 * NS]  # Before the first write: at once; the writes begin 400 ns later.
    machine = small_machine(addressed("physical flat"))
    handled.clear()
    machine.engine.call_in(sent + 10 * NS, lambda: machine.cpus[0].interrupt(note))
    run(machine, {0: storm})
    assert handled == [sent + 15 * ICR]
    assert machine.cpus[0].spent[INTERRUPT] == HANDLER
