"""What the kinds of lock are to those who use them, and which kinds there are.

Whoever takes a lock need not know which it is: exclusive ones have `acquire` and `release`, those with
readers the verbs that Linux has for them (mmap_read_lock, write_lock, percpu_down_read: one word here).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from sim.engine import Steps
from sim.hardware import Cpu
from sim.sync.bravo import BravoLock
from sim.sync.cna import CnaLock
from sim.sync.mutex import Mutex
from sim.sync.percpu_rwsem import PercpuRwSem
from sim.sync.phase_fair import PhaseFairLock
from sim.sync.pthread_mutex import PthreadMutex
from sim.sync.rwsem import RwSem
from sim.sync.rwsem_granting import GrantingRwSem
from sim.sync.rwsem_spinning_readers import SpinningReadersRwSem
from sim.sync.rwsem_xadd import XaddRwSem
from sim.sync.seqlock import SeqLock
from sim.sync.spin import McsLock, QueuedSpinLock
from sim.sync.word import TasLock, TicketLock


class Exclusive(Protocol):
    """One holder at a time."""

    def acquire(self, cpu: Cpu) -> Steps[None]:
        """Wait for the lock and take it."""

    def release(self, cpu: Cpu) -> Steps[None]:
        """Give it up."""


class Writer(Protocol):
    """The writers' side of a lock."""

    def write_lock(self, cpu: Cpu) -> Steps[None]:
        """Wait until nobody else has the lock, and take it."""

    def write_unlock(self, cpu: Cpu) -> Steps[None]:
        """Give it up."""


class ReaderWriter(Writer, Protocol):
    """Many readers or one writer."""

    def read_lock(self, cpu: Cpu) -> Steps[None]:
        """Wait until no writer has the lock, and share it with other readers."""

    def read_unlock(self, cpu: Cpu) -> Steps[None]:
        """Give it up."""


class Sequence(Writer, Protocol):
    """One writer, and readers that hold nothing but find out that somebody wrote."""

    def read_begin(self, cpu: Cpu) -> Steps[int]:
        """Wait until no writer is inside. Value: a number for `read_retry`."""

    def read_retry(self, cpu: Cpu, sequence: int) -> Steps[bool]:
        """Value: whether somebody has written since `read_begin` gave *sequence*."""


EXCLUSIVE: Final[Mapping[str, type[Exclusive]]] = {
    "tas": TasLock,
    "ttas": TasLock,
    "ticket": TicketLock,
    "mcs": McsLock,
    "qspinlock": QueuedSpinLock,
    "cna": CnaLock,
    "mutex": Mutex,
    "pthread-mutex": PthreadMutex,
}
READER_WRITER: Final[Mapping[str, type[ReaderWriter]]] = {
    "rwsem": RwSem,
    "rwsem-spinning-readers": SpinningReadersRwSem,
    "rwsem-xadd": XaddRwSem,
    "rwsem-granting": GrantingRwSem,
    "phase-fair": PhaseFairLock,
    "bravo": BravoLock,
    "percpu-rwsem": PercpuRwSem,
}
SEQUENCE: Final[Mapping[str, type[Sequence]]] = {"seqlock": SeqLock}
"""Kinds of lock, by the name that files give them."""
