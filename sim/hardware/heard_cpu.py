"""Cpus of a run in which somebody listens to the charges."""

from __future__ import annotations

from sim.engine import Activity
from sim.hardware.cpu import Cpu, SmtCpu


class HeardCpu(Cpu):
    """A cpu that tells the probe of each charge."""

    __slots__ = ()

    def work(self, cost: int, activity: Activity) -> None:
        self.stall(cost, activity)

    def stall(self, cost: int, activity: Activity) -> None:
        super().stall(cost, activity)
        self.probe.charge(self, activity.name, cost)

    def pay(self, cost: int, activity: Activity) -> None:
        super().pay(cost, activity)
        self.probe.charge(self, activity.name, cost)

    def charge(self, cost: int, activity: Activity) -> None:
        super().charge(cost, activity)
        self.probe.charge(self, activity.name, cost)

    def end_wait(self, since: int, activity: Activity, granted: int = 0) -> None:
        before = self.account[activity.slot] - sum(waited for _, waited in self._turned_in_wait)
        super().end_wait(since, activity, granted)
        self.probe.wait_over(self)
        self.probe.charge(self, activity.name, self.account[activity.slot] - before)


class HeardSmtCpu(SmtCpu, HeardCpu):
    """The same with a sibling."""

    __slots__ = ()
