"""Blocking in the kernel: the cpu switches away, idles in lazy-TLB mode, and is woken by another cpu."""

from __future__ import annotations

from sim.engine import Steps
from sim.engine.costs import at_clock
from sim.hardware import Cpu, Machine

SCHED = "sched"


class Scheduler:
    """What sleeping and waking cost (Linux kernel/sched, one thread a cpu, so nothing else to run).

    A sleeper pays a context switch to the idle task before its cpu counts as idle; a wake-up that comes
    earlier finds it still running. An idle cpu starts the woken thread after the wake-up latency, which is
    longer for one that has halted meanwhile.
    """

    __slots__ = (
        "_draw",
        "_halt_after",
        "_switch",
        "_wake_halted",
        "_wake_latency",
        "_wake_send",
        "_wake_spread",
        "_watched",
    )

    def __init__(self, machine: Machine) -> None:
        costs = at_clock(machine.spec.kernel, machine.spec.clock)
        self._switch = costs.context_switch
        self._wake_latency = costs.wake_idle
        self._wake_halted = costs.wake_halted
        self._halt_after = costs.halt_after
        self._wake_spread = costs.wake_spread
        self._draw = machine.engine.stream("wake-ups").random
        self._wake_send = costs.wake_send
        self._watched: dict[Cpu, dict[Cpu, object]] = {}

    def sleep(self, cpu: Cpu, sleeper: Sleeper, activity: str) -> Steps[None]:
        """Block until *sleeper* is woken. *activity* gets the sleep, `sched` the switches."""
        if sleeper.woken:
            sleeper.woken = False
            return
        cpu.probe.sleep(cpu, sleeper.reason)
        cpu.probe.context_switch(cpu)
        cpu.work(self._switch, SCHED)
        yield cpu.take_pending()
        if not sleeper.woken:
            cpu.go_idle()
            for spinner, what in self._watched.pop(cpu, {}).items():
                spinner.poke(what)
            sleeper.since = cpu.engine._now
            yield from cpu.park(sleeper, activity)
            cpu.leave_idle()
            cpu.tlb_catch_up()
        cpu.probe.context_switch(cpu)
        sleeper.woken = False

    def wake(self, waker: Cpu, sleeper: Sleeper) -> None:
        """Make *sleeper* run; the waker pays for it, unless the sleeper has been woken and has yet to run."""
        if not sleeper.woken:
            waker.work(self._wake_send, SCHED)
            self._start(sleeper, waker.pending, waker)

    def wake_from_interrupt(self, sleeper: Sleeper) -> int:
        """`wake` by an interrupt's handler; returns what the handler has to pay (ps)."""
        if sleeper.woken:
            return 0
        self._start(sleeper, self._wake_send, None)
        return self._wake_send

    def _start(self, sleeper: Sleeper, after: int, waker: Cpu | None) -> None:
        sleeper.woken = True
        engine = sleeper.cpu.engine
        halted = engine._now - sleeper.since > self._halt_after
        latency = self._wake_halted if halted else self._wake_latency
        vary = 1 + self._wake_spread * (2 * self._draw() - 1)
        delay = after + int(latency * vary)
        sleeper.cpu.probe.wake(waker, sleeper.cpu, delay)
        sleeper.cpu.poke(sleeper, delay)

    def nap(self, cpu: Cpu, time: int, activity: str) -> Steps[None]:
        """Block for *time* ps: a device or a timer wakes the thread with an interrupt."""
        sleeper = Sleeper(cpu, "a timer")

        def ring() -> None:
            cpu.interrupt(lambda _: (self.wake_from_interrupt(sleeper), lambda _: None))

        if cpu.pending:
            yield cpu.take_pending()
        cpu.engine.call_in(time, ring)
        yield from self.sleep(cpu, sleeper, activity)

    # -- spinning on somebody who may go to sleep -----------------------------------------------------------

    def watch(self, owner: Cpu, spinner: Cpu, what: object) -> None:
        """Poke *spinner*, which waits for *what*, if the thread on *owner* goes to sleep."""
        self._watched.setdefault(owner, {})[spinner] = what

    def unwatch(self, owner: Cpu, spinner: Cpu) -> None:
        self._watched.get(owner, {}).pop(spinner, None)


class Sleeper:
    """A thread in a sleep queue and the reason, for the deadlock report."""

    __slots__ = ("cpu", "reason", "since", "woken")

    def __init__(self, cpu: Cpu, reason: str) -> None:
        self.cpu = cpu
        self.reason = reason
        self.woken = False
        self.since = 0

    def describe_wait(self) -> str:
        return f"{self.reason} (asleep)"


class Waiter(Sleeper):
    """A sleeper in the queue of a reader-writer lock: whether it wants to *write*, and whether its waker has
    *granted* it the lock."""

    __slots__ = ("granted", "write")

    def __init__(self, cpu: Cpu, reason: str, write: bool) -> None:
        super().__init__(cpu, reason)
        self.write = write
        self.granted = False
