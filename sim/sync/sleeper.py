"""Threads in the sleep queues of locks and timers."""

from __future__ import annotations

from sim.hardware import Cpu


class Sleeper:
    """The thread that runs on *cpu* now, in a sleep queue, and the reason, for the deadlock report.

    It is *on_rq* until it gives its cpu away, and from when it runs again. While it is *leaving* its cpu,
    *off_at* is when it will have been switched out, and *called_at* when its waker's wake-up has come (ps).
    """

    __slots__ = ("called_at", "cpu", "leaving", "off_at", "on_rq", "reason", "since", "task", "woken")

    def __init__(self, cpu: Cpu, reason: str) -> None:
        self.cpu = cpu
        self.task = cpu.current
        self.reason = reason
        self.woken = False
        self.since = 0
        self.off_at = 0
        self.leaving = False
        self.on_rq = True
        self.called_at = 0

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
