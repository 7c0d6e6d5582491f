"""The kinds of lock that a workload file can name, each with the options it takes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from sim.quantities import Cost, Duration, Spec
from sim.sync import RwSemTuning


class PlainLock(Spec):
    """A lock without options, in the memory of socket *home*."""

    kind: Literal[
        "tas",
        "ticket",
        "mcs",
        "qspinlock",
        "mutex",
        "pthread-mutex",
        "rwsem-granting",
        "phase-fair",
        "seqlock",
    ]
    """Which lock it is."""
    home: NonNegativeInt = 0
    """Socket in whose memory it lies."""


class TtasLock(Spec):
    """Test-and-test-and-set; *pause* is what a waiter does between two looks at the word."""

    kind: Literal["ttas"]
    """Which lock it is."""
    home: NonNegativeInt = 0
    """Socket in whose memory it lies."""
    pause: Cost
    """What a waiter does between two looks at the word."""


class CnaLock(Spec):
    """A NUMA-aware queued spin lock; waiters elsewhere are passed over for *threshold* at most
    (`numa_spinlock_threshold`)."""

    kind: Literal["cna"]
    """Which lock it is."""
    home: NonNegativeInt = 0
    """Socket in whose memory it lies."""
    threshold: Duration
    """How long waiters of other nodes may be passed over (numa_spinlock_threshold)."""


class RwSemLock(Spec):
    """Linux's reader-writer semaphore with its constants: since 5.11, or as of 5.3 to 5.10."""

    kind: Literal["rwsem", "rwsem-spinning-readers"]
    """Which lock it is."""
    home: NonNegativeInt = 0
    """Socket in whose memory it lies."""
    tuning: RwSemTuning
    """The kernel's constants."""


class XaddRwSemLock(Spec):
    """The reader-writer semaphore of kernels up to 5.1, without *owner_spinning* of those before 3.16."""

    kind: Literal["rwsem-xadd"]
    """Which lock it is."""
    home: NonNegativeInt = 0
    """Socket in whose memory it lies."""
    owner_spinning: bool = True
    """Writers spin while the owner runs (since 3.16)."""
    wakers_wait: bool = False
    """Who wakes a thread that is just being switched out waits for the end of the whole switch. Kernels up to
    5.7 wait from the moment on at which it has left its run queue, which is somewhere inside."""


class BravoLock(Spec):
    """A phase-fair lock with reader bias. A writer pays *scan_line* for each line of the readers' table of
    *slots*, and for *inhibit* there is no bias. Locks with the same options share a table."""

    kind: Literal["bravo"]
    """Which lock it is."""
    home: NonNegativeInt = 0
    """Socket in whose memory it lies."""
    slots: PositiveInt
    """Of the table of visible readers."""
    scan_line: Cost
    """Look at one line of that table, for a writer."""
    inhibit: Duration
    """How long the lock stays without reader bias after a writer."""


class PercpuRwSemLock(Spec):
    """Linux's per-cpu rwsem, whose writers wait for grace periods; *tick* is the kernel's (1 / HZ)."""

    kind: Literal["percpu-rwsem"]
    """Which lock it is."""
    home: NonNegativeInt = 0
    """Socket in whose memory it lies."""
    tick: Duration = Field(gt=0)
    """Time between two timer ticks of the kernel: 1 / HZ."""


LockSpec = Annotated[
    PlainLock | TtasLock | CnaLock | RwSemLock | XaddRwSemLock | BravoLock | PercpuRwSemLock,
    Field(discriminator="kind"),
]
