"""Who has which lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.engine.probe import CpuView, LockView, Mode

_SHOWN = 4


class LockTable:
    """*holders* has the mode in which each thread has a lock, *held* the locks of each thread in the order
    taken, *cpu_of* where a thread was when it took its first."""

    __slots__ = ("cpu_of", "held", "holders")

    def __init__(self) -> None:
        self.holders: dict[LockView, dict[object, Mode]] = {}
        self.held: dict[object, dict[LockView, Mode]] = {}
        self.cpu_of: dict[object, CpuView] = {}

    def mode(self, lock: LockView, task: object) -> Mode | None:
        """How *task* has *lock*, None if it has not."""
        holders = self.holders.get(lock)
        return None if holders is None else holders.get(task)

    def who(self, lock: LockView) -> str:
        """Who has *lock*, in words."""
        holders = self.holders.get(lock)
        if not holders:
            return "nobody has it"
        some = [f"{task} has it ({mode})" for task, mode in list(holders.items())[:_SHOWN]]
        more = [f"{len(holders) - _SHOWN} more"] if len(holders) > _SHOWN else []
        return " and ".join([*some, *more])

    def names(self, task: object) -> str:
        """What *task* has, in words."""
        return ", ".join(lock.name for lock in self.held.get(task, ()))
