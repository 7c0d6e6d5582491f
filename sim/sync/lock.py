"""What all locks have in common: a name, and verbs that tell the probe what they do.

A lock is a class with generators for its verbs; a decorator says what a verb does to the lock:

    @takes("write")      returns with the lock          wait ... acquired
    @tries("read")       its value: whether it has it   wait ... acquired or missed
    @releases("write")   gives it up                    release ...
    @downgrades          keeps it for reading           downgraded ...

While nobody listens a verb is called as it stands. A lock without a name is a part of another one, which
speaks for it. Readers of a seqlock hold nothing and tell nothing. In a run without some locks their verbs do
something else instead, and tell nothing (`sim.sync.without`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, ClassVar, TypeVar

from sim.engine import Activity, Steps
from sim.hardware import Cpu

if TYPE_CHECKING:
    from sim.engine.probe import Mode
    from sim.hardware.cpu import LockVerb


class Lock:
    """A lock called *name*, on which waiting is charged to *activity*."""

    __slots__ = ("activity", "name")

    removable: ClassVar[bool] = True
    """Whether its verbs do nothing but exclude, so that a run may be without it (`sim.sync.without`)."""

    def __init__(self, name: str, activity: Activity) -> None:
        self.name = name
        self.activity = activity


L = TypeVar("L", bound=Lock)
T = TypeVar("T")
Verb = Callable[[L, Cpu], Steps[T]]


def takes(mode: Mode) -> Callable[[Verb[L, None]], Verb[L, None]]:
    """The verb waits for the lock and returns with it."""

    def heard(lock: L, cpu: Cpu, steps: Steps[None]) -> Steps[None]:
        cpu.probe.lock_wait(lock, cpu, mode)
        yield from steps
        cpu.probe.lock_acquired(lock, cpu, mode)

    return _telling(heard, "takes", mode)


def tries(mode: Mode) -> Callable[[Verb[L, bool]], Verb[L, bool]]:
    """The verb takes the lock if nobody is in the way; its value tells whether it did."""

    def heard(lock: L, cpu: Cpu, steps: Steps[bool]) -> Steps[bool]:
        probe = cpu.probe
        probe.lock_wait(lock, cpu, mode)
        taken = yield from steps
        (probe.lock_acquired if taken else probe.lock_missed)(lock, cpu, mode)
        return taken

    return _telling(heard, "tries", mode)


def releases(mode: Mode) -> Callable[[Verb[L, None]], Verb[L, None]]:
    """The verb gives the lock up."""

    def heard(lock: L, cpu: Cpu, steps: Steps[None]) -> Steps[None]:
        cpu.probe.lock_release(lock, cpu, mode)
        yield from steps

    return _telling(heard, "releases", mode)


def downgrades(verb: Verb[L, None]) -> Verb[L, None]:
    """The verb turns a hold for writing into one for reading."""

    def heard(lock: L, cpu: Cpu, steps: Steps[None]) -> Steps[None]:
        cpu.probe.lock_downgraded(lock, cpu)
        yield from steps

    return _telling(heard, "downgrades", "write")(verb)


def _telling(
    heard: Callable[[L, Cpu, Steps[T]], Steps[T]], kind: LockVerb, mode: Mode
) -> Callable[[Verb[L, T]], Verb[L, T]]:
    """A decorator that lets *heard* drive the verb's steps while somebody listens."""

    def decorate(verb: Verb[L, T]) -> Verb[L, T]:
        @wraps(verb)
        def call(lock: L, cpu: Cpu) -> Steps[T]:
            if cpu.locks is not None:
                other: Steps[T] | None = cpu.locks.instead(lock, cpu, kind, mode)
                if other is not None:
                    return other
            steps = verb(lock, cpu)
            return heard(lock, cpu, steps) if cpu.probe.hears_locks and lock.name else steps

        return call

    return decorate
