"""The run report of a point: its counters and its locks."""

from __future__ import annotations

from typing import Any

from sim.engine import Probe
from sim.profile.counters import Counters
from sim.profile.idle import IdleTime
from sim.profile.locks import Locks


class RunReport:
    """Listens to the runs of one point."""

    def __init__(self) -> None:
        self._counters = Counters()
        self._locks = Locks()

    @property
    def listeners(self) -> tuple[Probe, ...]:
        return self._counters, self._locks

    @property
    def idle(self) -> IdleTime:
        return self._counters

    @property
    def counters(self) -> dict[str, float]:
        """Counter -> how often; and the idle share."""
        return self._counters.report()

    @property
    def locks(self) -> list[dict[str, Any]]:
        """A row a lock and mode, the longest waits first."""
        return self._locks.report()
