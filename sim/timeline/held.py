"""Who holds which lock and who waits for it, so that a wait can name the holder and an arrow its giver."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.engine.probe import CpuView, LockView, Mode

Taker = tuple[object, "Mode"]
"""A thread (`Cpu.current`) and how it wants or has a lock."""

_NAMED = 3
"""Holders that are named; of more there is only the number."""


@dataclass(slots=True)
class Release:
    """*cpu* gave a lock up at *at* (ps); *flow* is the arrow from there, None once somebody has taken it."""

    cpu: CpuView
    at: int
    mode: Mode
    flow: int | None


@dataclass(slots=True)
class LockState:
    """One lock at the moment."""

    waiting: dict[Taker, int] = field(default_factory=dict)
    """Since when (ps)."""
    holding: dict[Taker, CpuView] = field(default_factory=dict)
    released: dict[Mode, Release] = field(default_factory=dict)

    def in_the_way(self, mode: Mode) -> str:
        """Who holds it so that *mode* has to wait, in words; empty if nobody."""
        holders = [f"{cpu} ({held})" for (_, held), cpu in self.holding.items() if "write" in (mode, held)]
        if len(holders) > _NAMED:
            return f"{', '.join(holders[:_NAMED])} and {len(holders) - _NAMED} more"
        return ", ".join(holders)

    def given_by(self, since: int, mode: Mode) -> Release | None:
        """The last release that a wait for *mode* which began at *since* had to wait for."""
        releases = [
            release
            for held, release in self.released.items()
            if release.at > since and "write" in (mode, held)
        ]
        return max(releases, key=lambda release: release.at, default=None)


@dataclass(frozen=True, slots=True)
class Wait:
    """*cpu* waited for the lock of this name, which somebody had, from *since* to *until* (ps)."""

    lock: str
    since: int
    until: int
    cpu: CpuView


class Locks:
    """All locks of one run; *waits* has those that were contended, in the order of their ends."""

    def __init__(self) -> None:
        self._states: dict[LockView, LockState] = {}
        self.waits: list[Wait] = []

    def of(self, lock: LockView) -> LockState:
        state = self._states.get(lock)
        if state is None:
            state = self._states[lock] = LockState()
        return state
