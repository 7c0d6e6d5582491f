"""Optimistic spinners: who is the head, and does a queue hold together when some leave from the middle?"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from machines import NS, Body, run, small_machine

from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.sync import QueueNodes, Scheduler, SpinnerQueue

US = 1000 * NS


class Bench:
    """Cpus that queue one after the other, a microsecond apart, and are the head for *heads_for*."""

    activity = Activity("spin")

    def __init__(self, heads_for: int, ties: str = "fifo", seed: int = 1) -> None:
        self.machine = small_machine(ties=ties, seed=seed)
        self.queue = SpinnerQueue(
            self, QueueNodes(self.machine, "osq"), self.machine.line("tail"), Scheduler(self.machine)
        )
        self.heads_for = heads_for
        self.heads: list[int] = []
        self.left: list[int] = []

    def spinner(self, after: int, turns: int = 1) -> Body:
        def body(cpu: Cpu) -> Steps[None]:
            for _ in range(turns):
                cpu.work(after, Activity("user"))
                yield cpu.take_pending()
                is_head = yield from self.queue.lock(cpu)
                cpu.need_resched = False
                if not is_head:
                    self.left.append(cpu.id)
                    continue
                assert self.queue.head is cpu
                self.heads.append(cpu.id)
                cpu.work(self.heads_for, Activity("head"))
                yield cpu.take_pending()
                assert self.queue.head is cpu
                yield from self.queue.unlock(cpu)

        return body

    def run(self, cpus: int, wanted: Mapping[int, int] | None = None) -> None:
        """*wanted*: when somebody wants which cpu."""
        for cpu, when in (wanted or {}).items():
            self.machine.engine.call_in(when, self.machine.cpus[cpu].set_need_resched)
        run(self.machine, {cpu: self.spinner(cpu * US) for cpu in range(cpus)})
        assert not self.queue.is_locked


def test_are_spinners_the_head_in_the_order_in_which_they_came() -> None:
    bench = Bench(heads_for=10 * US)
    bench.run(6)
    assert bench.heads == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("leaving", [[1], [3], [5], [2, 3], [1, 2, 3, 4, 5], [4, 5]])
def test_do_the_others_keep_their_order_when_some_leave(leaving: list[int]) -> None:
    """All of them at the same instant: neighbours, the last one, everybody behind the head."""
    bench = Bench(heads_for=50 * US)
    bench.run(6, dict.fromkeys(leaving, 20 * US))
    assert bench.heads == [cpu for cpu in range(6) if cpu not in leaving]
    assert sorted(bench.left) == leaving


def test_does_a_spinner_leave_at_once_and_not_when_it_has_become_the_head() -> None:
    bench = Bench(heads_for=500 * US)
    ended = []

    def noting(cpu: Cpu) -> Steps[None]:
        yield from bench.spinner(2 * US)(cpu)
        ended.append(cpu.now)

    bench.machine.engine.call_in(20 * US, bench.machine.cpus[2].set_need_resched)
    run(bench.machine, {0: bench.spinner(0), 1: bench.spinner(US), 2: noting, 3: bench.spinner(3 * US)})
    assert ended[0] < 22 * US  # some cache lines
    assert bench.heads == [0, 1, 3]


def test_is_nobody_forgotten_when_many_leave_at_any_moment() -> None:
    """A lost link shows as a deadlock, two heads as an assertion."""
    left = 0
    for seed in range(60):
        bench = Bench(heads_for=300 * NS, ties="shuffle", seed=seed)
        machine = bench.machine
        draw = machine.engine.stream("when")
        for _ in range(60):
            machine.engine.call_in(draw.randrange(30 * US), draw.choice(machine.cpus).set_need_resched)
        run(machine, {cpu: bench.spinner(draw.randrange(US), turns=4) for cpu in range(10)})
        assert not bench.queue.is_locked
        assert len(bench.heads) + len(bench.left) == 40
        left += len(bench.left)
    assert left > 300
