"""What all locks have in common: a name, and verbs that tell the probe what they do.

A lock is a class with generators for its verbs. What a caller calls says what the verb does to the lock:

    def write_lock(self, cpu: Cpu) -> Steps[None]:
        steps = self._write_lock(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "write", steps)

    takes(..., "write", ...)      returns with the lock          wait ... acquired
    tries(..., "read", ...)       its value: whether it has it   tried, wait ... acquired or missed
    releases(..., "write", ...)   gives it up                    release ...
    downgrades(...)               keeps it for reading           downgraded ...

While nobody listens a verb is its own steps. A lock without a name is a part of another one, which speaks for
it. Readers of a seqlock hold nothing and tell nothing. In a run without some locks their verbs do something
else instead, and tell nothing (`sim.sync.without`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mypy_extensions import mypyc_attr

from sim.engine import Activity, Steps
from sim.hardware import Cpu

if TYPE_CHECKING:
    from sim.engine.probe import Mode


@mypyc_attr(allow_interpreted_subclasses=True)
class Lock:
    """A lock called *name*, on which waiting is charged to *activity*."""

    __slots__ = ("activity", "name")

    removable: ClassVar[bool] = True
    """Whether its verbs do nothing but exclude, so that a run may be without it (`sim.sync.without`)."""

    def __init__(self, name: str, activity: Activity) -> None:
        self.name = name
        self.activity = activity

    def counted(self) -> int | None:
        """How many readers it believes to have; None where it does not count them."""
        return None

    def knows(self, cpu: Cpu) -> bool:
        """Whether *cpu*, which reads under it, is one of those whom a writer would wait for, as far as it can
        tell."""
        return self.counted() != 0


def takes(lock: Lock, cpu: Cpu, mode: Mode, steps: Steps[None]) -> Steps[None]:
    """*steps* wait for *lock* and return with it."""
    if cpu.locks is not None and (other := cpu.locks.instead(lock, cpu, "takes", mode)) is not None:
        return other
    return _heard_taking(lock, cpu, mode, steps) if cpu.probe.hears_locks and lock.name else steps


def tries(lock: Lock, cpu: Cpu, mode: Mode, steps: Steps[bool]) -> Steps[bool]:
    """*steps* take *lock* if nobody is in the way; their value tells whether they did."""
    if cpu.locks is not None and (other := cpu.locks.instead(lock, cpu, "tries", mode)) is not None:
        return other
    return _heard_trying(lock, cpu, mode, steps) if cpu.probe.hears_locks and lock.name else steps


def releases(lock: Lock, cpu: Cpu, mode: Mode, steps: Steps[None]) -> Steps[None]:
    """*steps* give *lock* up."""
    if cpu.locks is not None and (other := cpu.locks.instead(lock, cpu, "releases", mode)) is not None:
        return other
    return _heard_releasing(lock, cpu, mode, steps) if cpu.probe.hears_locks and lock.name else steps


def downgrades(lock: Lock, cpu: Cpu, steps: Steps[None]) -> Steps[None]:
    """*steps* turn a hold for writing into one for reading."""
    if cpu.locks is not None and (other := cpu.locks.instead(lock, cpu, "downgrades", "write")) is not None:
        return other
    return _heard_downgrading(lock, cpu, steps) if cpu.probe.hears_locks and lock.name else steps


def _heard_taking(lock: Lock, cpu: Cpu, mode: Mode, steps: Steps[None]) -> Steps[None]:
    cpu.probe.lock_wait(lock, cpu, mode)
    yield from steps
    cpu.probe.lock_acquired(lock, cpu, mode)


def _heard_trying(lock: Lock, cpu: Cpu, mode: Mode, steps: Steps[bool]) -> Steps[bool]:
    cpu.probe.lock_tried(lock, cpu, mode)
    cpu.probe.lock_wait(lock, cpu, mode)
    taken = yield from steps
    if taken:
        cpu.probe.lock_acquired(lock, cpu, mode)
    else:
        cpu.probe.lock_missed(lock, cpu, mode)
    return taken


def _heard_releasing(lock: Lock, cpu: Cpu, mode: Mode, steps: Steps[None]) -> Steps[None]:
    cpu.probe.lock_release(lock, cpu, mode)
    yield from steps


def _heard_downgrading(lock: Lock, cpu: Cpu, steps: Steps[None]) -> Steps[None]:
    cpu.probe.lock_downgraded(lock, cpu)
    yield from steps
