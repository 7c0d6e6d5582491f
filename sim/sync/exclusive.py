"""A spin lock in the place of a reader-writer lock: readers are writers.

    read_lock, write_lock, read_trylock     acquire, acquire, try_acquire
    write_downgrade                         nothing: it stays exclusive
    read_unlock, write_unlock               release

Who waits spins until it has the lock, also while its holder sleeps.
"""

from __future__ import annotations

from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.sync.spin import QueuedSpinLock


class ExclusiveRw:
    """The verbs of an rwsem on *inner*, which tells the probe what they do."""

    __slots__ = ("inner",)

    def __init__(self, inner: QueuedSpinLock) -> None:
        self.inner = inner

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def activity(self) -> Activity:
        return self.inner.activity

    def write_lock(self, cpu: Cpu) -> Steps[None]:
        return self.inner.acquire(cpu)

    def write_unlock(self, cpu: Cpu) -> Steps[None]:
        return self.inner.release(cpu)

    def read_lock(self, cpu: Cpu) -> Steps[None]:
        return self.inner.acquire(cpu)

    def read_unlock(self, cpu: Cpu) -> Steps[None]:
        return self.inner.release(cpu)

    def read_trylock(self, cpu: Cpu) -> Steps[bool]:
        """Value: whether nobody had it, and it is taken."""
        return self.inner.try_acquire(cpu)

    def write_downgrade(self, cpu: Cpu) -> Steps[None]:
        """There is nothing less than all of it."""
        return
        yield
