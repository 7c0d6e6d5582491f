"""What a run tells those who listen: named hooks that do nothing unless somebody does.

The model calls a hook of its `probe` where something happens; a listener is a subclass of `Probe` that
overrides the hooks it wants. Who listens is chosen when the engine is made and stays for the run:

    Engine(probe=QUIET)                  nobody listens (the default)
    Engine(probe=listen(Counters(), ...))
    model:   cpu.probe.sleep(cpu, reason)          rare: a call that does nothing
             lines, charges                        often: other classes, chosen by `hears`
             locks, operations                     often: other paths, chosen by `hears_locks` and the like

Listeners see and never act: a hook changes nothing in the model, draws from none of its random streams and
schedules nothing, so a run is the same with and without them. What a hook raises ends the run.

A hook is called in the order in which the model's state changes. A cpu's own time (`cpu.now`) is ahead of the
engine's by what it has yet to spend, so the times of two cpus' hooks need not be in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

if TYPE_CHECKING:
    from sim.engine.activity import Activity
    from sim.engine.core import Engine
    from sim.engine.thread import Thread

Mode = Literal["read", "write"]
"""How a lock is held: shared, or by one alone (as every lock without readers is)."""

Distance = Literal["same cpu", "same core", "same cluster", "same socket", "other socket", "memory"]
"""Where a cache line comes from. `same cpu`: it is here already, and the access is an atomic one. `same
core`: a sibling has it, in the caches that both share."""


class CpuView(Protocol):
    """What listeners see of a cpu."""

    @property
    def id(self) -> int: ...
    @property
    def number(self) -> int: ...
    @property
    def core(self) -> int: ...
    @property
    def cluster(self) -> int: ...
    @property
    def node(self) -> int: ...
    @property
    def socket(self) -> int: ...
    @property
    def current(self) -> object:
        """The thread that runs on it."""

    @property
    def now(self) -> int: ...
    @property
    def pending(self) -> int:
        """What of its time it has yet to spend: `now` is ahead of the engine by it."""

    @property
    def thread(self) -> Thread | None: ...
    @property
    def waiting(self) -> bool: ...
    @property
    def in_kernel_wait(self) -> bool:
        """Whether it has no thread to run."""

    @property
    def irq_until(self) -> int:
        """When the last handler that has begun ends."""

    @property
    def spent(self) -> Mapping[str, int]:
        """The open page of its account, and *pages* those before it."""

    @property
    def pages(self) -> Sequence[Mapping[str, int]]: ...
    def charged(self, activity: Activity) -> int: ...


class LineView(Protocol):
    """What listeners see of a cache line."""

    @property
    def name(self) -> str: ...


class LockView(Protocol):
    """What listeners see of a lock: its name says of what object it is, *activity* what waiting counts as."""

    @property
    def name(self) -> str: ...
    @property
    def activity(self) -> Activity: ...


class CallView(Protocol):
    """What listeners see of one call by IPI on many cpus."""

    @property
    def sender(self) -> CpuView: ...
    @property
    def targets(self) -> Sequence[CpuView]: ...


class Probe:
    """All hooks, each of which does nothing. Times and costs are in ps."""

    hears_locks: bool = False
    """Whether anybody listens to one of `LOCK_HOOKS`."""
    hears_operations: bool = False
    """Whether anybody listens to one of `OPERATION_HOOKS`."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.hears_locks = any(getattr(cls, hook) is not _NO_OPS[hook] for hook in LOCK_HOOKS)
        cls.hears_operations = any(getattr(cls, hook) is not _NO_OPS[hook] for hook in OPERATION_HOOKS)

    # -- the run --------------------------------------------------------------------------------------------

    def attach(self, engine: Engine) -> None:
        """A run is built on *engine*: the first hook of a run."""

    def run_begins(self, cpus: Sequence[CpuView]) -> None:
        """What is set up is set up; the threads of the workload start now, and the accounts of *cpus*."""

    def measures(self, cpus: Sequence[CpuView]) -> None:
        """The accounts of *cpus* make the breakdown: threads that are measured run there."""

    def turn_page(self) -> None:
        """The measured window begins (the first time) or ends (the second). A run may have none."""

    def run_ends(self) -> None:
        """All threads have ended."""

    # -- operations and time --------------------------------------------------------------------------------

    def space_made(self, space: object) -> None:
        """An address space is being made: it has a machine, and nothing else yet."""

    def performs(self, performer: object, cpu: CpuView, operation: object) -> None:
        """Who performs the operation that begins next on *cpu*: an address space, or the kernel."""

    def operation_begins(self, cpu: CpuView, operation: object) -> None:
        """The thread on *cpu* calls *operation* of its address space."""

    def operation_answers(self, cpu: CpuView, operation: object, value: object) -> None:
        """It is about to come back, with *value*."""

    def operation_ends(self, cpu: CpuView, operation: object) -> None:
        """It is back."""

    def fault_begins(self, cpu: CpuView, page: int) -> None:
        """The thread on *cpu* has accessed *page* in user mode, and the kernel handles the page fault from
        here on: the exception has been charged."""

    def fault_ends(self, cpu: CpuView, page: int) -> None:
        """It is about to try again; a fault that ends with a signal is not told."""

    def request_ends(
        self, cpu: CpuView, role: str, operations: int, latency: int | None, counted: bool
    ) -> None:
        """What a benchmark counts is over on *cpu*: *operations*, which are *counted* if in the window.

        *latency* is that of one of them (ps), None if it is not measured. *role* is the key of the thread's
        role in its workload: `roles[1]`.
        """

    def charge(self, cpu: CpuView, activity: str, cost: int) -> None:
        """*cost* goes to *activity*: for work from `cpu.now - cost` on, for waits and handlers at their end.

        The charges of a cpu sum to its account. One may be negative: a handler that outlasts the run.
        """

    def wait_over(self, cpu: CpuView) -> None:
        """The thread on *cpu* has waited: the charge that comes next is for that."""

    # -- locks ----------------------------------------------------------------------------------------------

    def lock_wait(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        """*cpu* wants *lock* from now on, which may be free."""

    def lock_tried(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        """*cpu* does not wait for *lock*: the `lock_wait` that comes next is one look at it."""

    def lock_acquired(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        """*cpu* has it."""

    def lock_missed(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        """*cpu* wanted it only if that took no waiting, and does without."""

    def lock_release(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        """*cpu* begins to release it: from here on others may have it."""

    def lock_downgraded(self, lock: LockView, cpu: CpuView) -> None:
        """*cpu* begins to turn its hold for writing into one for reading."""

    def bias_revoked(self, lock: LockView, cpu: CpuView) -> None:
        """*cpu*, a writer, takes the bias from a lock and scans for its readers (BRAVO)."""

    def range_locked(self, space: object, cpu: CpuView, start: int, end: int) -> None:
        """*cpu* has pages *start* to *end* of an address space to itself (a transaction, a range lock)."""

    def range_unlocked(self, space: object, cpu: CpuView, start: int, end: int) -> None:
        """It begins to give them up: from here on others may have them."""

    def mappings_change(self, space: object, index: object, cpu: CpuView, mappings: Sequence[object]) -> None:
        """*cpu* begins to store these mappings (VMAs) in the *index* of *space* with other ends, to put new
        ones there or to take them out, or to change what they allow."""

    def mapping_entered(self, lock: object, cpu: CpuView) -> None:
        """*cpu* has locked one mapping to use it, by a *lock* of its own."""

    def mapping_left(self, lock: object, cpu: CpuView) -> None:
        """It begins to unlock it: from here on a writer may have it."""

    def mapping_found(self, space: object, index: object, cpu: CpuView, mapping: object, page: int) -> None:
        """*cpu* takes *mapping*, which it has entered, for that of *page* in *space*."""

    def mapping_marked(self, space: object, lock: object, cpu: CpuView) -> None:
        """*cpu* may change the mapping of *lock* until `mappings_unmarked`: nobody is in it."""

    def mappings_unmarked(self, space: object, cpu: CpuView) -> None:
        """It begins to give up all that it has marked: from here on others may enter them."""

    # -- cache lines and memory -----------------------------------------------------------------------------

    def accessed(self, space: object, cpu: CpuView, page: int, frame: int, write: bool) -> None:
        """User code on *cpu* reads or writes *page* of *space* now, which is in *frame*."""

    def line_transfer(
        self, line: LineView, cpu: int, source: int, distance: Distance, cost: int, write: bool
    ) -> None:
        """The line is granted to cpu number *cpu* (`Cpu.id`), for *cost*; *source* had it (-1: memory).

        A write to a line with several holders comes from the farthest of them, a load from the nearest. A
        load or store that finds the line in the right state is no transfer and not told.
        """

    def line_prefetched(self, line: LineView, cpu: CpuView) -> None:
        """*cpu* has asked for the line and does not wait: if that was a transfer, it has been told and is not
        charged."""

    def line_access(self, line: LineView, cpu: CpuView, write: bool) -> None:
        """A load or store of the line by *cpu* begins: what is charged until `line_accessed` is for that,
        save for interrupts. Others may begin and end in between: those of an interrupt's handler."""

    def line_accessed(self, line: LineView, cpu: CpuView, owed: int) -> None:
        """The access that began last on *cpu* is over; *owed* (ps) of it is in the cpu's next charge."""

    def guarded_write(self, line: LineView, lock: LockView, cpu: CpuView) -> None:
        """*cpu* begins to write a line that only the holder of *lock* may write."""

    def entry_access(self, table: object, slot: int, cpu: CpuView, write: bool) -> None:
        """Kernel code begins a store to the line with the entries from *slot* on of a page table, or has just
        loaded it; of many stores in one step the first is told. A walk by the hardware is not told."""

    def entry_swapped(self, table: object, slot: int, cpu: CpuView) -> None:
        """Kernel code begins a compare-and-swap in that line, for which it needs no lock."""

    def tables_unlinked(self, cpu: CpuView, tables: Sequence[object]) -> None:
        """*cpu* has unlinked these page tables, to free them when nobody can be in them any more."""

    def rcu_read_begins(self, cpu: CpuView) -> None:
        """*cpu* begins to read what is freed after a grace period. Sections nest."""

    def rcu_read_ends(self, cpu: CpuView) -> None:
        """It has done so."""

    def rcu_deferred(self, cpu: CpuView, callback: object) -> None:
        """*callback* waits for the end of the sections that go on now, perhaps for that of others, too."""

    def rcu_over(self, cpu: CpuView, callback: object) -> None:
        """Its grace period has ended: *callback* runs on *cpu* now."""

    def frame_allocated(self, cpu: CpuView, frame: int, order: int) -> None:
        """The kernel gives away the 2**order frames from *frame* on."""

    def frame_freed(self, cpu: CpuView, frame: int, order: int) -> None:
        """It has them back."""

    def frame_pooled(self, cpu: CpuView, frame: int) -> None:
        """A frame of a process's own pool is free in it: it is about to be put there."""

    def frame_unpooled(self, cpu: CpuView, frame: int) -> None:
        """It has been taken out, with what was in it."""

    def frame_let_go(self, cpu: CpuView, frame: int) -> None:
        """One of several owners of the frame is one no more. Kernels that count others than entries of page
        tables do not tell it."""

    def frame_filled(self, cpu: CpuView, frame: int, source: int | None) -> None:
        """The kernel has zeroed the frame (*source* None), or copied what is in *source* into it."""

    def page_out(self, cpu: CpuView, frame: int, slot: int) -> None:
        """*cpu* begins to write what is in the frame to a slot of the swap device."""

    def page_in(self, cpu: CpuView, frame: int, slot: int) -> None:
        """The device has read what is in the slot into the frame, for *cpu*."""

    # -- interrupts -----------------------------------------------------------------------------------------

    def interrupt(self, cpu: CpuView, begins: int, length: int) -> None:
        """*cpu* runs an interrupt's handler of *length* from *begins* on (an IPI's, a timer's, a softirq)."""

    def interrupt_goes_on(self, cpu: CpuView, begins: int, length: int) -> None:
        """The handler that ended at *begins* has more to do, for *length* ps."""

    def ipi_call(self, call: CallView) -> None:
        """*call* is queued at its targets from now on; one that has an interrupt coming needs no other."""

    def ipi_send(self, sender: CpuView, targets: Sequence[CpuView]) -> None:
        """*sender* interrupts *targets*, whose queues were empty, with one write."""

    def ipi_arrive(self, cpu: CpuView) -> None:
        """An interrupt that was sent has come to *cpu*, which takes it now; with interrupts off, later. While
        a handler runs there it is told again when that ends."""

    def ipi_handle(self, cpu: CpuView, calls: Sequence[CallView]) -> None:
        """*cpu* has come round to its queue and does what is in it."""

    def ipi_ack(self, cpu: CpuView, call: CallView, at: int) -> None:
        """*cpu* has done its part of *call*, at time *at*."""

    def ipi_over(self, cpu: CpuView, call: CallView) -> None:
        """*cpu*, the sender of *call*, has waited for all of its targets and read what they acknowledged."""

    # -- TLBs -----------------------------------------------------------------------------------------------

    def flush(self, cpu: CpuView, pages: int) -> None:
        """*cpu* begins to remove so many pages (0: all) of its address space from all TLBs."""

    def tlb_flush(self, cpu: CpuView, pages: int, remote: bool) -> None:
        """The TLB of *cpu* drops so many pages (0: all of an address space), *remote*: for another cpu."""

    def lazy_flush_begins(self, cpu: CpuView, flush: object, record: object) -> None:
        """*cpu* has flushed what the *record* says itself, and the others will in their turns."""

    def lazy_flush_ends(self, cpu: CpuView, flush: object, record: object) -> None:
        """All others have: what was kept for their sake is free now."""

    def tlb_broadcast(self, cpu: CpuView, pages: int) -> None:
        """*cpu* tells all TLBs by instruction to drop so many pages (0: all of an address space)."""

    def tlb_fill(self, cpu: CpuView, page: int, frame: int, writable: bool, level: int) -> None:
        """The TLB of *cpu* has loaded a translation from a table of *level*, in the address space loaded."""

    # -- scheduling -----------------------------------------------------------------------------------------

    def context_switch(self, cpu: CpuView) -> None:
        """*cpu* leaves a thread for another or to idle, or idling for a thread."""

    def address_space_switch(self, cpu: CpuView, kept: bool) -> None:
        """*cpu* has loaded another address space; *kept*: with what its TLB still has of it."""

    def sleep(self, cpu: CpuView, reason: str) -> None:
        """The thread on *cpu* blocks until it is woken."""

    def wake(self, waker: CpuView | None, cpu: CpuView, latency: int) -> None:
        """A thread of *cpu* is woken by *waker* (None: an interrupt) and runs *latency* later.

        On a cpu that runs another thread it then begins to wait for its turn.
        """

    def idle_begins(self, cpu: CpuView) -> None:
        """*cpu* has no thread to run: all sleep or have ended."""

    def idle_ends(self, cpu: CpuView) -> None:
        """It has one again."""

    # -- who listens ----------------------------------------------------------------------------------------

    def hears(self, *hooks: str) -> bool:
        """Whether anybody listens to one of *hooks*."""
        if self is QUIET:
            return False
        return any(getattr(getattr(self, hook), "__func__", None) is not _NO_OPS[hook] for hook in hooks)


_NO_OPS: Final[dict[str, object]] = {
    name: hook
    for name, hook in vars(Probe).items()
    if callable(hook) and not name.startswith("_") and name != "hears"
}

HOOKS: Final = tuple(_NO_OPS)
LOCK_HOOKS: Final = (
    "lock_wait",
    "lock_tried",
    "lock_acquired",
    "lock_missed",
    "lock_release",
    "lock_downgraded",
)
OPERATION_HOOKS: Final = (
    "performs",
    "operation_begins",
    "operation_answers",
    "operation_ends",
    "fault_begins",
    "fault_ends",
)

QUIET: Final = Probe()
"""Nobody listens."""


class _Several(Probe):
    """Tells several listeners, each hook those who override it, in their order."""

    def __init__(self, listeners: Sequence[Probe]) -> None:
        for hook in HOOKS:
            heard = [getattr(listener, hook) for listener in listeners if listener.hears(hook)]
            if heard:
                setattr(self, hook, heard[0] if len(heard) == 1 else _each(heard))
        self.hears_locks = any(listener.hears(*LOCK_HOOKS) for listener in listeners)
        self.hears_operations = any(listener.hears(*OPERATION_HOOKS) for listener in listeners)


def _each(hooks: Sequence[Callable[..., None]]) -> Callable[..., None]:
    def tell(*arguments: Any, **named: Any) -> None:
        for hook in hooks:
            hook(*arguments, **named)

    return tell


def listen(*listeners: Probe) -> Probe:
    """One probe that tells all *listeners*; without any it is `QUIET`."""
    if not listeners:
        return QUIET
    return listeners[0] if len(listeners) == 1 else _Several(listeners)
