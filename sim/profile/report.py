"""The run report of a point: its counters, its locks, its cpus, its latencies, and where its lines went."""

from __future__ import annotations

from typing import Any

from sim.engine import Probe
from sim.profile.counters import Counters
from sim.profile.locks import Locks
from sim.profile.requests import Requests
from sim.profile.transfers import Transfers


class RunReport:
    """Listens to the runs of one point."""

    def __init__(self) -> None:
        self._counters = Counters()
        self._locks = Locks()
        self._requests = Requests()
        self._transfers = Transfers()

    @property
    def listeners(self) -> tuple[Probe, ...]:
        return self._counters, self._locks, self._requests, self._transfers

    @property
    def counters(self) -> dict[str, float]:
        """Counter -> how often; and the idle share."""
        return self._counters.report()

    @property
    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Table -> its rows: those of `TABLES`."""
        return {
            "locks": self._locks.report(),
            "cpus": self._requests.cpu_rows(),
            "latencies": self._requests.latency_rows(),
            "transfers": self._transfers.report(),
        }
