"""What does a wake-up cost each side in lines, and what one that comes too early or too late?"""

from __future__ import annotations

import pytest
from machines import ADJACENT, CROSS_SOCKET, NS, RMW, SAME_CLUSTER, run, small_machine

from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.sync import SCHED, Scheduler, Sleeper

US = 1000 * NS
SEND, SWITCH, WAKE = 500 * NS, 1 * US, 2 * US
"""Of the small machine."""


def wake_at(time: int, waker: int, *, again: bool = False, before: str = "0 ns") -> tuple[int, int, int]:
    """A thread on cpu 0 sleeps from 0 on, one on cpu *waker* wakes it at *time*, and *again* at once.

    Value: what the waker pays, for the last wake-up, and when the sleeper runs after the first one has been
    sent (ps).
    """
    machine = small_machine({"kernel": {"before_switch": before, "wake_in_vain": "100 ns"}})
    scheduler = Scheduler(machine)
    sleepers: list[Sleeper] = []
    found: dict[str, int] = {}

    def sleeping(cpu: Cpu) -> Steps[None]:
        sleepers.append(Sleeper(cpu, "somebody"))
        yield from scheduler.sleep(cpu, sleepers[0], Activity("asleep"))
        found["back"] = cpu.now

    def waking(cpu: Cpu) -> Steps[None]:
        yield time
        cpu.charge(time, Activity("user"))
        scheduler.wake(cpu, sleepers[0])
        found["sent"], found["last"] = cpu.now, cpu.pending
        if again:
            scheduler.wake(cpu, sleepers[0])
            found["last"] = cpu.now - found["sent"]

    run(machine, {0: sleeping, waker: waking})
    assert machine.cpus[waker].spent[SCHED] == found["sent"] - time + again * found["last"]
    return found["sent"] - time, found["last"], found["back"] - found["sent"]


@pytest.mark.parametrize(("waker", "line"), [(1, SAME_CLUSTER), (8, CROSS_SOCKET)])
def test_does_an_idle_cpu_far_away_cost_five_lines_there_and_four_back(waker: int, line: int) -> None:
    """The two lines of the task that are used together come in one burst."""
    sent, _, back = wake_at(50 * US, waker)
    assert sent == SEND + 5 * line + ADJACENT
    assert back == WAKE + 4 * line + ADJACENT


def test_does_a_second_waker_find_that_there_is_nothing_to_do() -> None:
    """The thread has been woken and has yet to run: its lines are still here."""
    _, last, back = wake_at(50 * US, 1, again=True)
    assert last == 100 * NS + 2 * RMW
    assert back == WAKE + 4 * SAME_CLUSTER + ADJACENT


def test_does_a_sleeper_look_again_before_it_gives_its_cpu_away() -> None:
    """The wake-up comes in the first 400 ns, and nobody sleeps; or later, and the cpu idles first."""
    sent, _, back = wake_at(300 * NS, 1, before="400 ns")
    assert sent == 100 * NS + 2 * SAME_CLUSTER + ADJACENT
    assert 300 * NS + sent + back == 400 * NS + 2 * RMW
    _, _, back = wake_at(500 * NS, 1, before="400 ns")
    assert back > SWITCH
