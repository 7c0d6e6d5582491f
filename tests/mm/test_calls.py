"""sv6's calls on other cpus: what one costs, who is interrupted, and what its locks do in a storm."""

from __future__ import annotations

import pytest
from machines import HIT, NS, SAME_CLUSTER, Body, SmallMachine, run, small_machine, with_order

from sim.engine import Activity, ScheduleName, Steps
from sim.hardware import IPI_SEND, Cpu
from sim.mm import TrackedFlush
from sim.mm.flush import LockedCalls

ASK, ANSWER = 7 * NS, 9 * NS
SEND, ICR, DELIVER, HANDLER, INVALIDATE = 50 * NS, 100 * NS, 300 * NS, 400 * NS, 40 * NS
ABOUT = 3
"""Lines of a call beside the first and the countdown."""


def flusher(machine: SmallMachine) -> TrackedFlush:
    calls = LockedCalls(machine, answer=ANSWER)
    return TrackedFlush(machine, calls, own_first=True, code=ASK)


def storm(machine: SmallMachine, *, times: int = 3) -> None:
    """All cpus shoot at all others, so often, at the same time."""
    flush = flusher(machine)

    def body(cpu: Cpu) -> Steps[None]:
        for _ in range(times):
            for other in machine.cpus:
                other.tlb.fill(cpu.id, frame=cpu.id, writable=True)
            yield from flush.flush(cpu, [cpu.id], [other for other in machine.cpus if other is not cpu])
            assert not any(cpu.id in other.tlb.frames() for other in machine.cpus)

    run(machine, dict.fromkeys(range(len(machine.cpus)), body))


def test_what_does_a_call_cost_that_nobody_is_in_the_way_of() -> None:
    machine = small_machine(online=4)
    flush = flusher(machine)
    ends: list[int] = []

    def body(cpu: Cpu) -> Steps[None]:
        yield from flush.flush(cpu, [1], [machine.cpus[1]])
        ends.append(cpu.now)

    run(machine, {0: body})
    prepared = INVALIDATE + SEND + (ABOUT + 2) * HIT
    queued = SAME_CLUSTER + ASK + 2 * HIT  # xchg; the own link, and the end of the list with the unlock
    taken = HANDLER + SAME_CLUSTER  # the list
    called = (1 + ABOUT) * SAME_CLUSTER + ANSWER + INVALIDATE + HIT  # the link is on the first line
    counted_down = SAME_CLUSTER
    read = SAME_CLUSTER
    assert ends == [prepared + queued + ICR + DELIVER + taken + called + counted_down + read]


def test_does_a_handler_look_for_calls_until_there_are_none() -> None:
    """The second call comes while the interrupt is on its way, the third while the handler works."""
    machine = small_machine(online=4)
    flush = flusher(machine)

    def calls(after: int) -> Body:
        def body(cpu: Cpu) -> Steps[None]:
            cpu.work(after, Activity("user"))
            yield cpu.take_pending()
            yield from flush.flush(cpu, [1], [machine.cpus[3]])

        return body

    run(machine, {0: calls(0), 1: calls(600 * NS), 2: calls(900 * NS)})
    assert machine.tally.calls == 3
    assert machine.tally.ipis == 1


def test_is_a_cpu_interrupted_again_once_its_list_was_empty() -> None:
    machine = small_machine(online=4)
    flush = flusher(machine)

    def body(cpu: Cpu) -> Steps[None]:
        for _ in range(3):
            yield from flush.flush(cpu, [1], [machine.cpus[3]])
            cpu.work(10 * HANDLER, Activity("user"))
            yield cpu.take_pending()

    run(machine, {0: body})
    assert machine.tally.ipis == 3


def test_do_many_who_try_a_lock_keep_the_holder_from_its_own_line() -> None:
    """Each holder has to wait for the call before its own; meanwhile all others have the line once. So the
    time to get through grows with the square of how many there are."""

    def send_time(senders: int) -> int:
        machine = small_machine(online=16)
        flush = flusher(machine)

        def body(cpu: Cpu) -> Steps[None]:
            yield from flush.flush(cpu, [1], [machine.cpus[15]])

        run(machine, dict.fromkeys(range(senders), body))
        return max(cpu.spent[IPI_SEND] for cpu in machine.cpus[:senders])

    few, many = send_time(6), send_time(12)
    assert many > 3 * few


@pytest.mark.parametrize("ties", ["fifo", "shuffle"])
@pytest.mark.parametrize("probe", [0, 0.3])
@pytest.mark.parametrize("rule", ["fifo", "random", "cluster-first"])
def test_does_a_storm_end_with_every_tlb_clean(rule: str, probe: float, ties: ScheduleName) -> None:
    """Handlers, too, wait for locks, whose holders have to get the line back before they let go."""
    changes = {"coherence": {**with_order(rule)["coherence"], "probe": probe}}
    machine = small_machine(changes, online=10, ties=ties, seed=3)
    storm(machine)
    assert machine.tally.calls == 3 * 10 * 9
    assert machine.tally.ipis < machine.tally.calls
