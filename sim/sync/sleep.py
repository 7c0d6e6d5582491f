"""Blocking in the kernel: the cpu switches away, and another cpu or an interrupt wakes the thread.

A cpu with one thread idles meanwhile, in lazy-TLB mode; one with several runs the next (`run_queue`).
"""

from __future__ import annotations

from functools import partial

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine, Task
from sim.sync.run_queue import SCHED, QueuedTask, SwitchCosts
from sim.sync.sleeper import Sleeper
from sim.sync.wake_lines import WakeLines


class Scheduler:
    """What sleeping and waking cost (Linux kernel/sched).

    A sleeper looks once more under its run queue's lock before it gives the cpu away. Then it pays a context
    switch to the idle task before its cpu counts as idle. A wake-up that comes during the switch waits on the
    cpu's list until the idle task looks, and the thread comes back from idle at once (WF_ON_CPU in
    ttwu_queue_wakelist); one that comes earlier finds it still running. An idle cpu starts the woken thread
    after the wake-up latency, which depends on how deep it idles. Both sides pay for the lines that come from
    the other (`wake_lines`).

    Where *wakers_wait*, as until 5.7, a waker that comes during the switch waits for the end of it, and then
    wakes the thread from idle: for the run queue's lock, which __schedule holds until the next thread has it
    (ttwu_remote, while the sleeper is on_rq), or for p->on_cpu, once it has left the queue. Since then it
    leaves the thread to the cpu that switches. (Where threads share a cpu no waker waits here.)

    A cpu that goes idle borrows the address space of the thread that leaves (lazy-TLB mode) and gives it back
    when one comes (`Cpu.active_mm`).
    """

    __slots__ = ("_costs", "_lines", "_wakers_wait")

    def __init__(self, machine: Machine, *, wakers_wait: bool = False) -> None:
        self._costs = SwitchCosts(machine)
        self._lines = WakeLines(machine)
        self._wakers_wait = wakers_wait

    def sleep(self, cpu: Cpu, sleeper: Sleeper, activity: Activity) -> Steps[None]:
        """Block until *sleeper* is woken. *activity* gets the sleep, `sched` the switches."""
        if sleeper.woken:
            sleeper.woken = False
            return
        cpu.probe.sleep(cpu, sleeper.reason)
        cpu.need_resched = False
        task = sleeper.task
        cpu.work(self._costs.before_switch, SCHED)
        cpu.stall(self._lines.sleep(cpu, task), SCHED)
        yield cpu.take_pending()
        if sleeper.woken:
            sleeper.woken = False
            return
        sleeper.on_rq = False
        if isinstance(task, QueuedTask):
            yield from task.queue.block(task, sleeper, activity)
            cpu.stall(self._lines.runs(task), SCHED)
            sleeper.woken, sleeper.on_rq = False, True
            return
        cpu.probe.context_switch(cpu)
        cpu.work(self._costs.switch, SCHED)
        sleeper.off_at = cpu.now
        sleeper.leaving = True
        yield cpu.take_pending()
        mm = cpu.active_mm
        if mm is not None:
            yield from mm.borrow(cpu)
            if cpu.pending:
                yield cpu.take_pending()
        cpu.go_idle()
        task.leaves_cpu()
        sleeper.leaving = False
        sleeper.since = cpu.engine._now
        if sleeper.woken:
            delay = max(0, sleeper.called_at - sleeper.since)
            delay += self._lines.run(task, cpu.engine._now + delay) + self._costs.wake_latency(cpu, None)
            cpu.engine.call_in(delay, partial(cpu.poke, sleeper))
        yield from cpu.park(sleeper, activity)
        cpu.leave_idle()
        cpu.stall(self._lines.runs(task), SCHED)
        cpu.tlb_catch_up()
        if mm is not None:
            yield from mm.give_back(cpu)
        cpu.probe.context_switch(cpu)
        sleeper.woken, sleeper.on_rq = False, True

    def wake(self, waker: Cpu, sleeper: Sleeper) -> None:
        """Make *sleeper* run; the waker pays for it, and for little more than a look at a sleeper that has
        been woken and has yet to run, or has yet to give its cpu away."""
        task = sleeper.task
        if sleeper.woken or sleeper.on_rq:
            sleeper.woken = True
            waker.work(self._costs.in_vain, SCHED)
            waker.stall(self._lines.wake_in_vain(waker, task), SCHED)
            return
        if self._wakers_wait and sleeper.leaving:
            waker.stall(max(0, sleeper.off_at - waker.now), SCHED)
        waker.work(self._costs.send, SCHED)
        waker.stall(self._lines.wake(waker, task), SCHED)
        if task.cpu.in_kernel_wait:
            waker.stall(self._costs.interrupt, SCHED)
        self._start(sleeper, waker.pending, waker)

    def link_waiter(self, cpu: Cpu, behind: Task | None) -> None:
        """The thread on *cpu* joins a list of waiters, each of which lies on the stack of its thread."""
        cpu.stall(self._lines.link(cpu, behind), SCHED)

    def mark_waiter(self, cpu: Cpu, task: Task) -> None:
        """*task*, a waiter on a list, is taken off, counted and noted for its wake-up (wake_q_add)."""
        cpu.stall(self._lines.mark(cpu, task), SCHED)

    def wake_from_interrupt(self, sleeper: Sleeper) -> int:
        """`wake` by an interrupt's handler; returns what the handler has to pay (ps)."""
        if sleeper.woken or sleeper.on_rq:
            sleeper.woken = True
            return 0
        self._start(sleeper, self._costs.send, None)
        return self._costs.send

    def _start(self, sleeper: Sleeper, after: int, waker: Cpu | None) -> None:
        sleeper.woken = True
        cpu, task = sleeper.cpu, sleeper.task
        if sleeper.leaving:
            sleeper.called_at = cpu.engine._now + after
            cpu.probe.wake(waker, cpu, after)
            return
        if waker is not None and cpu.in_kernel_wait:
            after += self._lines.run(task, cpu.engine._now + after)
        if isinstance(task, QueuedTask):
            task.queue.wake(task, sleeper, after, waker)
            return
        delay = after + self._costs.wake_latency(cpu, cpu.engine._now - sleeper.since)
        cpu.probe.wake(waker, cpu, delay)
        cpu.poke(sleeper, delay)

    def nap(self, cpu: Cpu, time: int, activity: Activity) -> Steps[None]:
        """Block for *time* ps: a device or a timer wakes the thread with an interrupt."""
        sleeper = Sleeper(cpu, "a timer")

        def ring() -> None:
            cpu.interrupt(lambda _: (self.wake_from_interrupt(sleeper), lambda _: None))

        if cpu.pending:
            yield cpu.take_pending()
        cpu.engine.call_in(time, ring)
        yield from self.sleep(cpu, sleeper, activity)

    def give_way(self, cpu: Cpu, code: int) -> Steps[None]:
        """schedule() of sched_yield, *code* ps where nobody else is there: others of this cpu run first."""
        cpu.stall(self._lines.look(cpu), SCHED)
        task = cpu.current
        if isinstance(task, QueuedTask) and task.queue.ready:
            yield from task.queue.give_away(task)
        else:
            cpu.work(code, SCHED)

    # -- optimistic spinning --------------------------------------------------------------------------------

    def need_resched(self, cpu: Cpu) -> bool:
        """Whether the kernel asks for a switch, or the thread has used up its slice and others wait: it must
        not spin on."""
        if cpu.need_resched:
            return True
        task = cpu.current
        return isinstance(task, QueuedTask) and task.queue.need_resched()

    def reschedule(self, cpu: Cpu) -> Steps[None]:
        """schedule_preempt_disabled of a spinner that has stopped because of `need_resched`."""
        cpu.need_resched = False
        task = cpu.current
        if isinstance(task, QueuedTask) and task.queue.need_resched():
            yield from task.queue.give_away(task)

    def spin(self, cpu: Cpu, lock: object, activity: Activity, owner: Task | None = None) -> Steps[None]:
        """Wait until somebody pokes *cpu* for *lock*, *owner* leaves its cpu, or this one is wanted."""
        if owner is not None:
            owner.watchers[cpu] = lock
        task = cpu.current
        if isinstance(task, QueuedTask):
            task.queue.spins_for(lock)
        cpu.spins_for = lock
        yield from cpu.park(lock, activity)
        cpu.spins_for = None
        if isinstance(task, QueuedTask):
            task.queue.spins_for(None)
        if owner is not None:
            owner.watchers.pop(cpu, None)
