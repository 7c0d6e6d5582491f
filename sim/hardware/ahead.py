"""Cpus whose waiting is given back: what would be if a lock kept nobody waiting?

A thread that has waited for a lock that should keep nobody waiting is late by its wait. It saves that time in
what it does next: its own work and the transfers that it pays for take no time until it has caught up. So it
is where it would be if it had not waited, and the lock has had one owner after the other all the same:

    with the lock      A |==holds==|-- goes on
                       B    |waits.|==holds==|-- goes on
    given back         B    |waits.|==|-- goes on
    without it         B    |==holds==|-- goes on

With one lock whose holders take equally long that is the same instant. Where they do not, who is behind a
longer one is late for a moment, and catches up after the lock. What others take of it in the meantime (a line
that it waits for, a handler) it cannot save. What it does is charged in full, and the wait is not, so the
account is that of the cpu's own time: it differs from the clock by what it has yet to save (`Cpu.ahead`).
"""

from __future__ import annotations

from typing import TypeVar, cast

from sim.engine import Activity
from sim.hardware.cpu import Cpu

C = TypeVar("C", bound=Cpu)


class _Ahead(Cpu):
    """Saves what it is ahead of the clock in all that it spends."""

    __slots__ = ()

    def work(self, cost: int, activity: Activity) -> None:
        super().work(cost, activity)
        self._save()

    def stall(self, cost: int, activity: Activity) -> None:
        super().stall(cost, activity)
        self._save()

    def pay(self, cost: int, activity: Activity) -> None:
        super().pay(cost, activity)
        self._save()

    def end_wait(self, since: int, activity: Activity, granted: int = 0) -> None:
        super().end_wait(since, activity, granted)
        self._save()

    def open_account(self) -> None:
        super().open_account()
        self.ahead = 0

    def _save(self) -> None:
        saved = min(self.ahead, self.pending)
        self.ahead -= saved
        self.pending -= saved


def ahead(kind: type[C]) -> type[C]:
    """The *kind* of cpu, with its waiting given back."""
    return cast("type[C]", type(f"Ahead{kind.__name__}", (_Ahead, kind), {"__slots__": ()}))
