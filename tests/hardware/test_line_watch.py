"""Who spins on a copy of a line: what do the writes of others cost, and when does it look again?"""

from __future__ import annotations

from typing import Any

import pytest
from machines import CROSS_CLUSTER, HIT, NS, run, small_machine

from sim.engine import Activity, Steps
from sim.hardware import Cpu

LOCK = "the word that is waited for"


def stores(gaps: list[int], changes: dict[str, Any] | None = None, *, watched: bool = True) -> list[int]:
    """What each store by cpu 0 costs that comes so long after the one before it, while cpu 4 spins."""
    machine = small_machine(changes)
    line = machine.line("line", owner=0)
    costs: list[int] = []
    over = False

    def spinner(cpu: Cpu) -> Steps[None]:
        while not over:
            yield from line.read(cpu)
            if cpu.pending:
                yield cpu.take_pending()
            if watched:
                line.watch(cpu, LOCK)
            yield from cpu.park(LOCK, Activity("spin"))
            if watched:
                line.unwatch(cpu)

    def writer(cpu: Cpu) -> Steps[None]:
        nonlocal over
        for gap in gaps:
            cpu.work(gap, Activity("user"))
            yield cpu.take_pending()
            before = cpu.now
            yield from line.store(cpu)
            costs.append(cpu.now - before)
        over = True
        yield cpu.take_pending() or 1
        cpu.charge(0, Activity("user"))
        machine.cpus[4].poke(LOCK)

    run(machine, {0: writer, 4: spinner})
    return costs


def test_does_each_store_take_the_copy_of_who_spins_away() -> None:
    assert stores([1000 * NS] * 3) == [CROSS_CLUSTER] * 3
    assert stores([1000 * NS] * 3, watched=False) == [CROSS_CLUSTER, HIT, HIT]


def test_does_a_store_right_behind_another_mostly_come_before_the_next_look() -> None:
    """A turn of the loop is 1000 ns, the look some time in it, and the second store comes 10 ns later."""
    costs = stores([5000 * NS, 10 * NS] * 40, {"coherence": {"spin_turn": "1000 ns"}})
    assert costs[::2] == [CROSS_CLUSTER] * 40
    assert costs[1::2].count(HIT) >= 35


@pytest.mark.parametrize("turn", ["100 ns", "400 ns"])
def test_is_a_look_half_a_turn_late_in_the_mean(turn: str) -> None:
    machine = small_machine({"coherence": {"spin_turn": turn}})
    looks = [machine.fabric.next_look() for _ in range(2000)]
    length = int(turn.split()[0]) * NS
    assert min(looks) >= 0
    assert max(looks) < length
    assert sum(looks) / len(looks) == pytest.approx(length / 2, rel=0.05)
    assert small_machine().fabric.next_look() == 0
