"""Blocking in the kernel: the cpu switches away, idles in lazy-TLB mode, and is woken by another cpu."""

from __future__ import annotations

from sim.engine import ThreadBody
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
        "sleeps",
    )

    def __init__(self, machine: Machine) -> None:
        costs, clock = machine.spec.kernel, machine.spec.clock
        self._switch = costs.context_switch.at(clock)
        self._wake_latency = costs.wake_idle.at(clock)
        self._wake_halted = costs.wake_halted.at(clock)
        self._halt_after = costs.halt_after
        self._wake_spread = costs.wake_spread
        self._draw = machine.engine.stream("wake-ups").random
        self._wake_send = costs.wake_send.at(clock)
        self.sleeps = 0

    def sleep(self, cpu: Cpu, sleeper: Sleeper, activity: str) -> ThreadBody:
        """Block until *sleeper* is woken. *activity* gets the sleep, `sched` the switches."""
        if sleeper.woken:
            sleeper.woken = False
            return
        self.sleeps += 1
        cpu.work(self._switch, SCHED)
        yield cpu.take_pending()
        if not sleeper.woken:
            cpu.in_kernel_wait = True
            sleeper.since = cpu.engine._now
            yield from cpu.park(sleeper, activity)
            cpu.in_kernel_wait = False
            cpu.tlb_catch_up()
        sleeper.woken = False

    def wake(self, waker: Cpu, sleeper: Sleeper) -> None:
        """Make *sleeper* run; the waker pays for it, unless the sleeper has been woken and has yet to run."""
        if not sleeper.woken:
            waker.work(self._wake_send, SCHED)
            sleeper.woken = True
            halted = waker.engine._now - sleeper.since > self._halt_after
            latency = self._wake_halted if halted else self._wake_latency
            vary = 1 + self._wake_spread * (2 * self._draw() - 1)
            sleeper.cpu.poke(sleeper, waker.pending + int(latency * vary))


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
