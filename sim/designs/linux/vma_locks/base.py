"""What a lock of a VMA is to those who use it: faults, and writers that hold mmap_lock.

A kernel of Linux's kind chooses one kind when it is built. A process has one `VmaLocks`, which keeps what all
its VMAs share (mm_lock_seq, the writer's wait queue), and every VMA a `VmaLock` of its own:

    writer   mmap_lock, begin_write | start_write(vma) | changes | end_write_all, mmap_lock let go
    fault    start_read(vma) ... end_read(vma)   | False from here on | True again

A fault never waits for a writer: where `start_read` is False it goes to mmap_lock. A writer waits for the
faults that are in its VMA, and releases all its VMAs at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mypy_extensions import mypyc_attr

from sim.designs.linux.interval_spec import IntervalSpec
from sim.designs.linux.layout import MmLines
from sim.designs.linux.vma_locks.sequence import MmLockSeq
from sim.engine import Steps
from sim.errors import ModelError
from sim.hardware import CacheLine, Cpu, Machine
from sim.sync import QueueNodes, RwSemTuning, Scheduler

if TYPE_CHECKING:
    from sim.designs.linux.slab import SlabObject


@dataclass(frozen=True, slots=True)
class Site:
    """What the locks of one process are made of."""

    machine: Machine
    lines: MmLines
    """The lines of mm_struct's fields."""
    line: Callable[[str], CacheLine]
    """A line for a field that no kernel has; a lock of one's own may need it."""
    nodes: QueueNodes
    osq_nodes: QueueNodes
    scheduler: Scheduler
    rwsem: RwSemTuning
    mm_lock_seq: MmLockSeq
    interval: IntervalSpec | None = None
    """Where VMAs are nodes of an interval skip list: what that is like."""


@mypyc_attr(allow_interpreted_subclasses=True)
class VmaLock(ABC):
    """The lock of one VMA. Verbs take the time that their cache lines do."""

    __slots__ = ()

    @abstractmethod
    def start_read(self, cpu: Cpu) -> Steps[bool]:
        """vma_start_read: lock the VMA for a fault; value: False where a writer has it or had it meanwhile.

        The VMA may have left the tree, have other ends or, where they are used again, be another one by now:
        the fault looks again.
        """

    @property
    def is_detached(self) -> bool:
        """`start_read` was False: whether that is because the VMA has left the tree, so that the fault looks
        for another one."""
        return False

    @property
    def is_attached(self) -> bool:
        """Whether it says that its VMA is in the tree (`mark_attached`)."""
        return False

    @abstractmethod
    def end_read(self, cpu: Cpu) -> Steps[None]:
        """vma_end_read."""

    @abstractmethod
    def start_write(self, cpu: Cpu) -> Steps[None]:
        """vma_start_write: wait for faults in the VMA, then keep new ones out until the section ends.

        Again in the same section it does nothing, nor does it wait for a VMA that is not in the tree yet. The
        caller holds mmap_lock for writing, and writes to the VMA, where the mark lies, behind this.
        """

    @property
    def is_write_locked(self) -> bool:
        """Whether the write section that goes on has it (`start_write`), as far as its kind can tell."""
        return True

    def mark_attached(self, cpu: Cpu) -> Steps[None]:
        """vma_mark_attached: a new VMA, locked for writing, is about to enter the tree."""
        return
        yield

    def contradiction(self) -> str | None:
        """No thread runs: what is wrong with its state, if anything, as the rest of a sentence on its VMA."""
        return None

    @abstractmethod
    def mark_detached(self, cpu: Cpu) -> Steps[None]:
        """vma_mark_detached: it leaves the tree, after `start_write`; faults that found it look again."""


@mypyc_attr(allow_interpreted_subclasses=True)
class VmaLocks(ABC):
    """The locks of one process's VMAs, made with it."""

    __slots__ = ()

    serve_faults: ClassVar[bool] = True
    """Whether a fault looks for its VMA's lock at all, before it takes mmap_lock."""

    reuse_vmas: ClassVar[bool] = False
    """Whether a VMA that is freed may be given out again at once, while faults look at it
    (SLAB_TYPESAFE_BY_RCU)."""

    rechecks: ClassVar[bool] = False
    """Whether a fault holds nothing that keeps its VMA as it is, and looks at it again under the lock of the
    table that it writes to. Tables that munmap unlinks are then freed after a grace period."""

    separate: ClassVar[bool] = False
    """Whether each lock is an object of its own, from the cache `vma_lock`; else it is a part of the VMA."""

    speculates: ClassVar[bool] = False
    """Whether who has read-locked a VMA has no lock at all: before it sets an entry, a fault then asks
    `still_valid`, and it may make neither tables nor an anon_vma."""

    @property
    def looks_only(self) -> bool:
        """Whether a fault that has read-locked a VMA keeps nobody from changing it."""
        return self.rechecks or self.speculates

    def __init__(self, site: Site) -> None:  # noqa: B027  # may have nothing of its own
        """Made with each process."""

    @abstractmethod
    def new(self, cpu: Cpu, start: int, memory: SlabObject) -> VmaLock:
        """vma_lock_init: the lock of a VMA from page *start* on, which *cpu* allocates.

        It lies in *memory*: an object of its own, or the VMA, as `separate` says.
        """

    def renew(self, lock: VmaLock, start: int) -> None:
        """The same for a VMA that was freed, in whatever process, and has its *lock* still."""
        raise ModelError("its VMAs are not given out again")

    def still_valid(self, cpu: Cpu) -> Steps[bool]:
        """Under the page-table lock. Value: whether the VMA that this fault has is as it was."""
        return True
        yield

    @abstractmethod
    def begin_write(self, cpu: Cpu) -> Steps[None]:
        """*cpu* has just taken mmap_lock for writing."""

    @abstractmethod
    def end_write_all(self, cpu: Cpu) -> Steps[None]:
        """vma_end_write_all: release every VMA that was locked since; *cpu* is about to let mmap_lock go."""
