"""How a lock and a line were used; times in ps. What was counted apart can be added up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

Users = Counter[tuple[str, str]]


@dataclass(slots=True)
class LockUse:
    """How one lock, or all of a kind, was used in one mode.

    *nested* is what of the waits lay inside a wait for another lock; *release* what was charged to the lock's
    activity outside of waits. *hand_overs* is by distance from whoever had the lock last. *hold* by what the
    holder did is *parts*.
    """

    acquisitions: int = 0
    contended: int = 0
    missed: int = 0
    wait: int = 0
    wait_max: int = 0
    nested: int = 0
    release: int = 0
    holds: int = 0
    hold: int = 0
    hold_max: int = 0
    parts: Counter[str] = field(default_factory=Counter)
    hand_overs: Counter[str] = field(default_factory=Counter)
    pairs: Users = field(default_factory=Counter)
    """(operation that waits, operation that holds) -> time."""

    def add(self, other: LockUse) -> None:
        """Count what *other* counted, too."""
        for name in ("acquisitions", "contended", "missed", "wait", "nested", "release", "holds", "hold"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.wait_max = max(self.wait_max, other.wait_max)
        self.hold_max = max(self.hold_max, other.hold_max)
        self.parts.update(other.parts)
        self.hand_overs.update(other.hand_overs)
        self.pairs.update(other.pairs)


@dataclass(slots=True)
class LineUse:
    """How one line, or all of a kind, was used.

    *time* is what cpus were charged for accesses, *queued* what of it they waited for others' accesses.
    *cpus* is the bit set of those that accessed it. *transfers* is by distance.
    """

    reads: int = 0
    writes: int = 0
    time: int = 0
    queued: int = 0
    longest: int = 0
    cpus: int = 0
    transfers: Counter[str] = field(default_factory=Counter)
    users: Users = field(default_factory=Counter)
    """(operation, activity) -> time."""
    locks: Counter[str] = field(default_factory=Counter)
    """Kind of lock -> what of the time was spent taking or releasing one."""

    def add(self, other: LineUse) -> None:
        """Count what *other* counted, too."""
        for name in ("reads", "writes", "time", "queued"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.longest = max(self.longest, other.longest)
        self.cpus |= other.cpus
        self.transfers.update(other.transfers)
        self.users.update(other.users)
        self.locks.update(other.locks)
