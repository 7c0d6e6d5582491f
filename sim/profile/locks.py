"""Who waited for which lock, and how long it was held: the run report's table of locks.

    lock_wait      lock_acquired                lock_release
    |---- wait ----|----------- hold -----------|             the verb of the release is no part of the hold

A wait counts when it ends, contended or not: a free lock, too, has to be fetched. It is *contended* if
somebody held the lock, in a mode that keeps this one out, while it lasted. Locks of the same name are one: a
VMA that is mapped again where one was before has that one's row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sim.engine.pages import Paged
from sim.quantities import PS_PER_NS

if TYPE_CHECKING:
    from sim.engine import Engine
    from sim.engine.probe import CpuView, LockView, Mode

COLUMNS: Final = (
    "lock",
    "mode",
    "activity",
    "locks",
    "acquisitions",
    "contended",
    "missed",
    "wait_ns",
    "wait_max_ns",
    "hold_ns",
    "hold_max_ns",
)
"""What a row of the table says; *locks* is how many share it."""

SHOWN: Final = 40
"""Locks with a row of their own, those with the longest waits; the rest share one."""


@dataclass(slots=True)
class Usage:
    """How one lock, or several together, was used in one mode; times in ps."""

    acquisitions: int = 0
    contended: int = 0
    missed: int = 0
    wait: int = 0
    wait_max: int = 0
    hold: int = 0
    hold_max: int = 0

    def add(self, other: Usage) -> None:
        """Count what *other* counted, too."""
        self.acquisitions += other.acquisitions
        self.contended += other.contended
        self.missed += other.missed
        self.wait += other.wait
        self.wait_max = max(self.wait_max, other.wait_max)
        self.hold += other.hold
        self.hold_max = max(self.hold_max, other.hold_max)


Key = tuple[str, str, str]
"""Name, mode and activity of a lock."""


class _State:
    """What is known of one lock at the moment: since when threads wait and hold, when it was held last."""

    __slots__ = ("holding", "read_until", "waiting", "written_until")

    def __init__(self) -> None:
        self.waiting: dict[tuple[object, Mode], int] = {}
        self.holding: dict[tuple[object, Mode], list[int]] = {}
        self.written_until = -1
        self.read_until = -1


class Locks(Paged[dict[Key, Usage]]):
    """Waits and holds of each lock; *totals* is over all runs of a point."""

    def __init__(self) -> None:
        self._locks: dict[LockView, _State] = {}
        self.totals: dict[Key, Usage] = {}
        super().__init__()

    def report(self, shown: int = SHOWN) -> list[dict[str, Any]]:
        """A row a lock and mode, the longest waits first; what is beyond *shown* locks is one row."""
        ranked = sorted(self.totals.items(), key=lambda item: (-item[1].wait, item[0]))
        rows = [_row(*key, 1, usage) for key, usage in ranked[:shown]]
        if rest := ranked[shown:]:
            together = Usage()
            for _, usage in rest:
                together.add(usage)
            rows.append(_row("others", "", "", len(rest), together))
        return rows

    # -- pages ----------------------------------------------------------------------------------------------

    def attach(self, engine: Engine) -> None:
        self._locks.clear()
        super().attach(engine)

    def blank(self) -> dict[Key, Usage]:
        return {}

    def count(self, page: dict[Key, Usage], cpus: int) -> None:
        for key, usage in page.items():
            self.totals.setdefault(key, Usage()).add(usage)

    def _usage(self, lock: LockView, mode: Mode) -> Usage:
        key = lock.name, mode, lock.activity.name
        usage = self.page.get(key)
        if usage is None:
            usage = self.page[key] = Usage()
        return usage

    def _state(self, lock: LockView) -> _State:
        state = self._locks.get(lock)
        if state is None:
            state = self._locks[lock] = _State()
        return state

    # -- hooks ----------------------------------------------------------------------------------------------

    def lock_wait(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        self._state(lock).waiting[cpu.current, mode] = cpu.now

    def lock_acquired(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        state, usage, now = self._state(lock), self._usage(lock, mode), cpu.now
        began = state.waiting.pop((cpu.current, mode))
        wait = now - began
        usage.acquisitions += 1
        usage.wait += wait
        usage.wait_max = max(usage.wait_max, wait)
        usage.contended += state.written_until > began or (mode == "write" and state.read_until > began)
        state.holding.setdefault((cpu.current, mode), []).append(now)

    def lock_missed(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        state, usage = self._state(lock), self._usage(lock, mode)
        wait = cpu.now - state.waiting.pop((cpu.current, mode))
        usage.missed += 1
        usage.wait += wait
        usage.wait_max = max(usage.wait_max, wait)

    def lock_release(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        state, usage, now = self._state(lock), self._usage(lock, mode), cpu.now
        holds = state.holding[cpu.current, mode]
        hold = now - holds.pop()
        usage.hold += hold
        usage.hold_max = max(usage.hold_max, hold)
        if mode == "write":
            state.written_until = max(state.written_until, now)
        else:
            state.read_until = max(state.read_until, now)

    def lock_downgraded(self, lock: LockView, cpu: CpuView) -> None:
        self.lock_release(lock, cpu, "write")
        self._state(lock).holding.setdefault((cpu.current, "read"), []).append(cpu.now)


def _row(name: str, mode: str, activity: str, locks: int, usage: Usage) -> dict[str, Any]:
    counts = usage.acquisitions, usage.contended, usage.missed
    times = (time / PS_PER_NS for time in (usage.wait, usage.wait_max, usage.hold, usage.hold_max))
    return dict(zip(COLUMNS, (name, mode, activity, locks, *counts, *times), strict=True))
