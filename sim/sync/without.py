"""A run in which some locks and lines are not what they were: what would be gained without them?

    locks       a lock that does not exist   nobody waits, nobody is kept out, its lines are not touched
    waits       a lock whose waiting is      one owner after the other, in order of arrival, who save in what
                given back                   they do next what they have waited (`sim.hardware.ahead`)
    handovers   a lock that costs nothing    one owner after the other, in order of arrival, and nothing else
    lines       a line that is always here   a load is a hit, an atomic access one in the own cache

A lock that does not exist keeps nobody out, and the structures that it guards may be changed by two at once.
Some of them bear it (lists whose every step is done at one instant); others break, and the run fails with
what broke: an error on the way, or a rule of the end state. For these there are two other ways.

With its waiting given back a lock keeps out whom it must, so everything stays whole, and nobody loses time by
it. That is an estimate of what a run without it would be: holders follow each other in order, and at times of
the engine a little later than they would have come.

With a lock that costs nothing, to wait takes the time until the lock is given up. No line travels, no sleeper
has to be woken, no bias be revoked. So it tells what the lock's own cost is, not what its waiting is: a lower
bound of what would be gained without the lock.

    exists       A ==holds==|-- line travels, wake-up --|==holds== B
    handovers    A ==holds==|==holds== B
    locks        A ==holds==|
                   B ==holds==|

Which they are is said by patterns (`*`, `?`) for a lock's activity or name, and for a line's name. A lock
that is more than that (a count of references, a sequence that readers look at) refuses all.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Literal

from sim.engine import Steps
from sim.errors import ModelError
from sim.hardware import Cpu

_Kind = Literal["absent", "free", "given back"]

if TYPE_CHECKING:
    from sim.engine.probe import LockView, Mode
    from sim.hardware.cpu import LockVerb


@dataclass(frozen=True)
class Without:
    """What a run does without: patterns of locks and lines."""

    locks: tuple[str, ...] = ()
    handovers: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()

    def __or__(self, other: Without) -> Without:
        """Without both."""
        pairs = (
            (self.locks, other.locks),
            (self.handovers, other.handovers),
            (self.waits, other.waits),
            (self.lines, other.lines),
        )
        return Without(*(tuple(dict.fromkeys([*one, *two])) for one, two in pairs))

    def __bool__(self) -> bool:
        return bool(self.locks or self.handovers or self.waits or self.lines)


class LocksWithout:
    """What the verbs of locks do in a run without some (`sim.sync.lock`)."""

    def __init__(self, without: Without) -> None:
        self._without = without
        self._kinds: dict[tuple[str, str], _Kind | None] = {}
        self._turns: dict[LockView, Turns] = {}

    def is_absent(self, lock: LockView) -> bool:
        """Whether *lock* does not exist."""
        return self._kind(lock) == "absent"

    def instead(self, lock: LockView, cpu: Cpu, verb: LockVerb, mode: Mode) -> Steps[Any] | None:
        """The steps to do instead of the lock's own, if any. Raises `ModelError` for one that refuses."""
        kind = self._kind(lock)
        if kind is None:
            return None
        if not getattr(lock, "removable", True):
            raise ModelError(
                f"{lock.name} is more than a lock ({type(lock).__name__}): the model cannot do without it"
            )
        if kind == "absent":
            return _has_it() if verb == "tries" else _nothing()
        turns = self._turns.get(lock)
        if turns is None:
            turns = self._turns[lock] = Turns(lock, gives_back=kind == "given back")
        if verb == "takes":
            return turns.take(cpu, mode)
        if verb == "tries":
            return turns.try_to_take(cpu, mode)
        return turns.leave(cpu, mode) if verb == "releases" else turns.downgrade(cpu)

    def _kind(self, lock: LockView) -> _Kind | None:
        """What *lock* is in this run; None if it is as it was."""
        key = lock.activity.name, lock.name
        if key not in self._kinds:
            kinds: dict[_Kind, tuple[str, ...]] = {
                "absent": self._without.locks,
                "free": self._without.handovers,
                "given back": self._without.waits,
            }
            self._kinds[key] = next(
                (kind for kind, patterns in kinds.items() if _any_of(patterns, key)), None
            )
        return self._kinds[key]


@dataclass(eq=False, slots=True)
class _Waiter:
    """Who waits, for how much of the lock."""

    cpu: Cpu
    mode: Mode
    granted: bool = False


class Turns:
    """One lock that costs nothing: its owners, and who waits, in order. Readers do not overtake writers."""

    def __init__(self, lock: LockView, *, gives_back: bool = False) -> None:
        self._lock = lock
        self._gives_back = gives_back
        self._readers = 0
        self._written = False
        self._waiting: deque[_Waiter] = deque()

    def describe_wait(self) -> str:
        return f"{self._lock.name or self._lock.activity} (which costs nothing)"

    def take(self, cpu: Cpu, mode: Mode) -> Steps[None]:
        """Wait for one's turn."""
        if cpu.pending:
            yield cpu.take_pending()
        if not self._enters(mode):
            waiter = _Waiter(cpu, mode)
            self._waiting.append(waiter)
            activity, page = self._lock.activity, len(cpu.pages)
            before = cpu.account[activity.slot]
            while not waiter.granted:
                yield from cpu.park(self, activity)
            if self._gives_back and len(cpu.pages) == page:  # a wait over the end of a page stays one
                waited = cpu.account[activity.slot] - before
                cpu.charge(-waited, activity)
                cpu.ahead += waited

    def try_to_take(self, cpu: Cpu, mode: Mode) -> Steps[bool]:
        """Value: whether nobody was in the way."""
        if cpu.pending:
            yield cpu.take_pending()
        return self._enters(mode)

    def leave(self, cpu: Cpu, mode: Mode) -> Steps[None]:
        """Let the next ones in."""
        if cpu.pending:
            yield cpu.take_pending()
        if mode == "write":
            self._written = False
        else:
            self._readers -= 1
        self._let_in()

    def downgrade(self, cpu: Cpu) -> Steps[None]:
        """From writing to reading, together with the readers that are next."""
        if cpu.pending:
            yield cpu.take_pending()
        self._written = False
        self._readers += 1
        self._let_in()

    def _enters(self, mode: Mode) -> bool:
        if self._waiting or not self._admits(mode):
            return False
        self._count(mode)
        return True

    def _admits(self, mode: Mode) -> bool:
        return not self._written and (mode == "read" or not self._readers)

    def _count(self, mode: Mode) -> None:
        if mode == "write":
            self._written = True
        else:
            self._readers += 1

    def _let_in(self) -> None:
        while self._waiting and self._admits(self._waiting[0].mode):
            waiter = self._waiting.popleft()
            self._count(waiter.mode)
            waiter.granted = True
            waiter.cpu.poke(self)


def _nothing() -> Steps[None]:
    """No step at all."""
    return
    yield


def _has_it() -> Steps[bool]:
    return True
    yield


def _any_of(patterns: tuple[str, ...], names: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names if name)


NOTHING: Final = Without()
"""A run as it is."""
