"""Who holds a lock and what that one does meanwhile, so that a waiter's time can be put down to it.

Each lock has a *clock*: for whatever its holder does, how long a holder has done that so far. It advances by
the holder's charges. What a waiter waited for is what the clock has advanced by between begin and end of the
wait; the rest of the wait nobody held the lock (`HAND_OVER`).

    holder   acquired |-- work --|---- transfer ----|-- work --| release
    waiter                  ^ begins: work 3             acquired: work 5 + 4, transfer 9
                              -> work 6, transfer 9, hand-over the rest

A holder that waits for another lock advances its clock by what that wait was made of, and so on along the
chain: the *root* is what the holder of the last lock did. A charge is told when it begins or ends, as a
whole. A wait that begins in the middle of one takes the part of it that lies behind, exactly; of a wait for
another lock, which has several roots, in proportion. Of several readers the one that came first stands for
all. Readers are not in another reader's way, unless a writer has wanted the lock before that one has it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from sim.profile.kinds import kind_of
from sim.profile.parts import ASLEEP, HAND_OVER

if TYPE_CHECKING:
    from sim.engine.probe import CpuView, LockView, Mode


class Root(NamedTuple):
    """What a waiter waits for: *operation* and *mode* are the direct holder's, *kind* is the last lock of the
    chain, *part* what its holder does."""

    operation: str
    mode: Mode
    kind: str
    part: str


Pieces = Sequence[tuple[Root, int]]


class Hold:
    """One hold of a lock by a thread, in *operation*, since time *since*.

    *depth* is how many waits for locks it lies in. *detail* is what the thread has
    done: (part, what) -> time.
    """

    __slots__ = ("depth", "detail", "lock", "mode", "operation", "since")

    def __init__(self, lock: Holders, mode: Mode, operation: str, since: int, depth: int) -> None:
        self.lock = lock
        self.mode = mode
        self.operation = operation
        self.since = since
        self.depth = depth
        self.detail: Counter[tuple[str, str]] = Counter()


class Wait:
    """One wait for a lock. *base* is the lock's clock when it began, as soon as that is known; *wanted* how
    many writers had asked for it until then and had got it."""

    __slots__ = ("base", "began", "lock", "mode", "over", "wanted")

    def __init__(self, lock: Holders, mode: Mode, began: int) -> None:
        self.lock = lock
        self.mode = mode
        self.began = began
        self.base: list[int] | None = None
        self.over = False
        self.wanted = lock.served


class Holders:
    """What is known of one lock at the moment. *last* is the cpu that had it last."""

    __slots__ = (
        "_clock",
        "_fresh",
        "_places",
        "_recent",
        "_until",
        "activity",
        "holds",
        "kind",
        "last",
        "name",
        "read_until",
        "served",
        "waits",
        "wanted",
        "written_until",
    )

    def __init__(self, lock: LockView) -> None:
        self.name = lock.name
        self.activity = lock.activity.name
        self.kind = kind_of(lock.name)
        self.holds: list[Hold] = []
        """The first one is the leader, who advances the clock."""
        self.waits = 0
        self.last: CpuView | None = None
        self.wanted = 0
        """How many writers have asked for it so far."""
        self.served = 0
        """How many of them wait no more."""
        self.written_until = -1
        self.read_until = -1
        self._clock: list[int] = []
        self._places: dict[Root, int] = {}
        self._until = 0  # the time up to which the clock has advanced
        self._recent: Pieces = ()  # what it has advanced by last
        self._fresh: list[Wait] = []  # began later than that

    @property
    def idle(self) -> bool:
        """Whether nobody holds it or waits for it."""
        return not self.holds and not self.waits

    # -- holders --------------------------------------------------------------------------------------------

    def join(self, hold: Hold) -> None:
        """Somebody has it from now on."""
        self.holds.append(hold)
        if len(self.holds) == 1:
            self._until, self._recent = hold.since, ()

    def leave(self, hold: Hold, now: int) -> None:
        """*hold* ends."""
        leads = self.holds[0] is hold
        if leads:
            self._sleep_until(now, hold)
        self.holds.remove(hold)
        if leads and self.holds:
            self._until, self._recent = max(self._until, now), ()

    def advance(self, hold: Hold, pieces: Pieces, end: int | None) -> None:
        """The holder has done *pieces*, which end at time *end* (None: within what it does otherwise)."""
        if self.holds[0] is not hold:
            return
        if end is not None:
            self._sleep_until(end - sum(length for _, length in pieces), hold)
        self._advance(pieces)

    def _sleep_until(self, time: int, hold: Hold) -> None:
        """Nobody was charged for what the leader did up to *time*: another thread had its cpu."""
        if time > self._until:
            self._advance([(Root(hold.operation, hold.mode, self.kind, ASLEEP), time - self._until)])

    def _advance(self, pieces: Pieces) -> None:
        length = sum(time for _, time in pieces)
        if length <= 0:
            return
        begin, self._until = self._until, self._until + length
        if self._fresh:
            later = []
            for wait in self._fresh:
                if wait.over:
                    continue
                if wait.began < self._until:
                    wait.base = self._clock[:]
                    self._shift(wait.base, pieces, length, max(0, wait.began - begin))
                else:
                    later.append(wait)
            self._fresh = later
        for root, time in pieces:
            self._clock_at(self._clock, root, time)
        self._recent = pieces

    def _shift(self, clock: list[int], pieces: Pieces, length: int, by: int) -> None:
        """Advance *clock* by a part of *pieces*, which are *length* long; *by* may be negative."""
        if len(pieces) == 1:
            self._clock_at(clock, pieces[0][0], by)
            return
        for root, time in pieces:
            self._clock_at(clock, root, time * by // length)

    def _clock_at(self, clock: list[int], root: Root, time: int) -> None:
        place = self._places.setdefault(root, len(self._places))
        while len(clock) <= place:
            clock.append(0)
        clock[place] += time

    # -- waiters --------------------------------------------------------------------------------------------

    def begin(self, wait: Wait) -> None:
        """Somebody wants it."""
        self.waits += 1
        self.wanted += wait.mode == "write"
        if wait.began >= self._until:
            self._fresh.append(wait)
            return
        wait.base = self._clock[:]
        if self._recent:
            length = sum(time for _, time in self._recent)
            self._shift(wait.base, self._recent, length, -min(self._until - wait.began, length))

    def end(self, wait: Wait, now: int) -> list[tuple[Root, int]]:
        """The wait is over; value: what it was made of, which sums to its length."""
        self.waits -= 1
        self.served += wait.mode == "write"
        wait.over = True
        if not self.waits:
            self._fresh.clear()
        length = now - wait.began
        found: list[tuple[Root, int]] = []
        if wait.base is not None:
            places = len(self._places)
            self._clock += [0] * (places - len(self._clock))
            base = wait.base + [0] * (places - len(wait.base))
            if base != self._clock:
                gained = zip(self._places, base, self._clock, strict=True)
                found = [(root, after - before) for root, before, after in gained if after > before]
        if wait.mode == "read" and self.wanted == wait.wanted:
            found = [(root, time) for root, time in found if root.mode == "write"]
        held = sum(time for _, time in found)
        if held > length:  # the times of two cpus are out of step by what one has yet to spend
            found = [(root, time * length // held) for root, time in found]
            held = sum(time for _, time in found)
        found.append((Root("", wait.mode, self.kind, HAND_OVER), length - held))
        return found
