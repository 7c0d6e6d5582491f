"""What becomes of mmap_lock during an operation, and what is flushed meanwhile, in their order."""

from __future__ import annotations

from sim.engine import Probe
from sim.engine.probe import CpuView, LockView, Mode


class Held(Probe):
    """*events*: `write` or `read` when mmap_lock is taken, `downgrade`, `flush N` of N pages, `release`."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def lock_acquired(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        if lock.name == "mmap_lock":
            self.events.append({"write": "write", "read": "read"}[mode])

    def lock_release(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        if lock.name == "mmap_lock":
            self.events.append("release")

    def lock_downgraded(self, lock: LockView, cpu: CpuView) -> None:
        if lock.name == "mmap_lock":
            self.events.append("downgrade")

    def flush(self, cpu: CpuView, pages: int) -> None:
        self.events.append(f"flush {pages}")

    def heard(self) -> list[str]:
        """The events since the last time that somebody asked."""
        events, self.events = self.events, []
        return events
