"""A semaphore of user programs: what does a token cost, who sleeps, who is woken?"""

from __future__ import annotations

from machines import HIT, NS, RMW, run, small_machine

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.sync import QueueNodes, Scheduler
from sim.sync.semaphore import Semaphore
from sim.sync.sleeper import Sleeper

US = 1000 * NS
WAIT = Activity("waiting")


def semaphore(machine: Machine, tokens: int = 0, scheduler: Scheduler | None = None) -> Semaphore:
    line, nodes = machine.line("semaphore", 0, owner=0), QueueNodes(machine, "qspin")
    return Semaphore(machine, "semaphore", line, nodes, scheduler or Scheduler(machine), WAIT, tokens)


def test_is_a_token_that_is_there_one_load_and_one_atomic_instruction() -> None:
    machine = small_machine()
    tokens = semaphore(machine, tokens=1)
    spent = []

    def body(cpu: Cpu) -> Steps[None]:
        taken = yield from tokens.wait(cpu)
        spent.append(cpu.spent[WAIT])
        yield from tokens.post(cpu)
        spent.append(cpu.spent[WAIT])
        assert taken

    run(machine, {0: body})
    assert spent == [HIT + RMW, HIT + 2 * RMW]
    assert tokens.tokens == 1
    assert machine.tally.sleeps == 0


def test_is_each_post_good_for_one_sleeper_the_first_first() -> None:
    machine = small_machine()
    tokens = semaphore(machine)
    woken = []

    def waiter(cpu: Cpu) -> Steps[None]:
        cpu.work(cpu.id * US, Activity("user"))
        yield from tokens.wait(cpu)
        woken.append((cpu.id, cpu.now))

    def poster(cpu: Cpu) -> Steps[None]:
        for _ in range(2):
            cpu.work(100 * US, Activity("user"))
            yield from tokens.post(cpu)

    run(machine, {0: poster, 1: waiter, 2: waiter})
    assert [cpu for cpu, _ in woken] == [1, 2]
    assert woken[0][1] < 200 * US < woken[1][1]
    assert machine.tally.sleeps == 2
    assert tokens.tokens == 0


def test_is_a_thread_woken_after_the_bucket_is_let_go() -> None:
    machine = small_machine()
    holders: list[Cpu | None] = []

    class Watched(Scheduler):
        def wake(self, waker: Cpu, sleeper: Sleeper) -> None:
            holders.append(tokens._futex.bucket.holder)
            super().wake(waker, sleeper)

    tokens = semaphore(machine, scheduler=Watched(machine))

    def waiter(cpu: Cpu) -> Steps[None]:
        yield from tokens.wait(cpu)

    def poster(cpu: Cpu) -> Steps[None]:
        cpu.work(100 * US, Activity("user"))
        yield from tokens.post(cpu)

    run(machine, {0: poster, 1: waiter})
    assert holders == [None]
