"""A cpu: the thread that runs on it, its clock, its interrupts and where its time went.

Time on a cpu runs a little ahead of the engine: `Cpu.work` only adds to *pending*, and the thread yields the
sum before it touches anything that another cpu can see. This is exact, because nothing shared happens in
between, and it turns a run of private steps into one event.

Accounting is double entry. Each cost is charged to an activity when it is added; the engine's clock moves
when the sum is yielded. `Cpu.close_account` compares the two. An account may have several pages, one after
the other in time (`Cpu.turn_page`): a measured window is a page.

Interrupts steal time. A handler that arrives while the thread is delayed makes the delay longer; one that
arrives while the thread waits costs nothing unless the wait ends before the handler does:

    thread   |--- work ---|            |-- rest of work --|
    handler               |== 600 ns ==|

A cpu with interrupts disabled takes them when it enables them again.

All time is charged here: by `work`, `stall` and `pay`, which also delay the thread, `end_wait` and `charge`.
Where somebody listens to the charges, the cpus are `HeardCpu`s (`sim.hardware.heard_cpu`).

Where both siblings of a core are online, their cpus are `SmtCpu`s: one's own work takes longer while the
other works, and a little longer while it spins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol

from mypy_extensions import mypyc_attr

from sim.engine import PARKED, QUIET, Activity, Engine, Steps, Thread
from sim.engine.activity import blank_account, by_name
from sim.errors import AccountingError

if TYPE_CHECKING:
    from sim.engine.probe import LockView, Mode
    from sim.hardware.tlb import Tlb
    from sim.hardware.topology import Seat

INTERRUPT: Final = Activity("interrupt")
TLB_FLUSH: Final = Activity("tlb flush")
IDLE: Final = Activity("idle")
GIVEN_BACK: Final = Activity("given back")
"""Time that was given back to a thread and not saved when it ended."""
INJECTED_DELAY: Final = Activity("injected delay")
"""Time that the run's schedule, not the machine, took from a thread at work."""

Interrupt = Callable[["Cpu"], tuple[int, "Callable[[int], None]"]]
"""Runs on the interrupted cpu: returns the handler's length (ps) and what to call with its end time."""


class Task:
    """A thread as the kernel knows it (task_struct): whom locks name as their owner, whom a wake-up is for.

    A cpu has one, whatever thread runs on it, unless several share it (`sim.sync.run_queue`). *watchers* are
    the cpus that spin until it releases a lock, each with the lock.
    """

    __slots__ = ("cpu", "name", "watchers")

    def __init__(self, cpu: Cpu, name: str) -> None:
        self.cpu = cpu
        self.name = name
        self.watchers: dict[Cpu, object] = {}

    def __repr__(self) -> str:
        return self.name

    @property
    def on_cpu(self) -> bool:
        """Whether it runs (owner_on_cpu): it neither sleeps nor waits for its turn."""
        return self.cpu.current is self and not self.cpu.in_kernel_wait

    def leaves_cpu(self) -> None:
        """It stops running: those who watch it look again."""
        watchers, self.watchers = self.watchers, {}
        for spinner, lock in watchers.items():
            spinner.poke(lock)


class Lent(Protocol):
    """The address space of a thread, as the cpu sees it that keeps it while it idles (lazy-TLB mode)."""

    def borrow(self, cpu: Cpu) -> Steps[None]:
        """The thread on *cpu* has left it, and the idle thread comes."""
        ...

    def give_back(self, cpu: Cpu) -> Steps[None]:
        """A thread has *cpu* again."""
        ...


LockVerb = Literal["takes", "tries", "releases", "downgrades"]
"""What a method of a lock does to it."""


class LockRule(Protocol):
    """What a cpu does instead of a lock's own steps, in a run without some locks (`sim.sync.without`)."""

    def is_absent(self, lock: LockView) -> bool:
        """Whether *lock* does not exist."""
        ...

    def instead(self, lock: LockView, cpu: Cpu, verb: LockVerb, mode: Mode) -> Steps[Any] | None:
        """Other steps, or None for the lock's own."""
        ...


@mypyc_attr(allow_interpreted_subclasses=True)
class Cpu:
    """One hardware thread of the machine and the simulated thread that runs on it, *current*.

    *id* counts the cpus that are online; *number* is what the machine calls it.
    """

    __slots__ = (
        "_held_interrupts",
        "_irq_in_wait",
        "_irqs_off",
        "_left",
        "_pages",
        "_since",
        "_turned_at",
        "_turned_in_wait",
        "_wakes_at",
        "account",
        "active_mm",
        "ahead",
        "bit",
        "cluster",
        "core",
        "current",
        "engine",
        "heard",
        "id",
        "in_kernel_wait",
        "irq_until",
        "locks",
        "need_resched",
        "node",
        "number",
        "pending",
        "plain_locks",
        "preempt_off",
        "probe",
        "socket",
        "spins_for",
        "thread",
        "tlb",
        "waiting",
    )

    steady: ClassVar[bool] = True
    """Its own work takes the same time whatever other cpus do."""

    def __init__(self, engine: Engine, cpu_id: int, seat: Seat) -> None:
        self.engine = engine
        self.probe = engine.probe
        self.heard = self.probe is not QUIET
        """Somebody listens: where a hook is called often, it is asked first."""
        self.locks: LockRule | None = None
        self.plain_locks = not self.probe.hears_locks
        """Nobody listens to locks, and there is no rule for them."""
        self.id = cpu_id
        self.bit = 1 << cpu_id
        self.number, self.core, self.cluster, self.node, self.socket = seat
        self.thread: Thread | None = None
        self.current = Task(self, repr(self))
        self.tlb: Tlb
        self.pending = 0
        self.ahead = 0
        """Time that was given back to it and has not been saved yet (`sim.hardware.ahead`)."""
        self.account: list[int] = blank_account()
        """The open page of the account: ps by the activities' slots."""
        self._pages: list[list[int]] = []
        """The pages before it."""
        self.waiting = False
        self.in_kernel_wait = False
        """The thread sleeps in the kernel: the cpu is idle and in lazy-TLB mode."""
        self.active_mm: Lent | None = None
        """What its thread runs in, where a cpu that idles counts as a user of that."""
        self.need_resched = False
        """The kernel has asked for a context switch, which has not come yet (TIF_NEED_RESCHED)."""
        self.preempt_off = False
        """The thread spins for a sleeping lock or is about to take it: it has disabled preemption."""
        self.spins_for: object = None
        """The sleeping lock for which the thread spins, as long as nobody wants the cpu."""
        self.irq_until = 0
        self._irq_in_wait = 0
        self._irqs_off = 0
        self._held_interrupts: list[Interrupt] = []
        self._since = 0
        self._turned_at = 0
        self._turned_in_wait: list[tuple[list[int], int]] = []
        self._left = 0
        self._wakes_at = 0

    def __repr__(self) -> str:
        return f"cpu {self.number}"

    @property
    def spent(self) -> Counter[str]:
        """The open page of the account: activity -> ps."""
        return by_name(self.account)

    @property
    def pages(self) -> list[Counter[str]]:
        """The pages before it."""
        return [by_name(page) for page in self._pages]

    def charged(self, activity: Activity) -> int:
        """What has been charged to *activity* (ps), on all pages of the account."""
        slot = activity.slot
        return self.account[slot] + sum(page[slot] for page in self._pages)

    @property
    def now(self) -> int:
        """The cpu's own time: the engine's plus what is pending."""
        return self.engine._now + self.pending

    # -- time -----------------------------------------------------------------------------------------------

    def work(self, cost: int, activity: Activity) -> None:
        """Spend *cost* ps on *activity*."""
        self.pending += cost
        account, slot = self.account, activity.slot
        account[slot] = account[slot] + cost

    def stall(self, cost: int, activity: Activity) -> None:
        """Spend *cost* ps waiting for memory or for a moment: what a sibling does not make longer."""
        self.pending += cost
        account, slot = self.account, activity.slot
        account[slot] = account[slot] + cost

    def pay(self, cost: int, activity: Activity) -> None:
        """`stall` where nothing is pending: what an access to a line costs, which is the hottest charge."""
        self.pending = cost
        account, slot = self.account, activity.slot
        account[slot] = account[slot] + cost

    def charge(self, cost: int, activity: Activity) -> None:
        """Put time that passes otherwise on the account."""
        account, slot = self.account, activity.slot
        account[slot] = account[slot] + cost

    def take_pending(self) -> int:
        """The delay to yield before the next shared access (`if cpu.pending: yield cpu.take_pending()`)."""
        pending, self.pending = self.pending, 0
        return pending

    def work_within(self, time: int) -> int:
        """How much work fits into the next *time* ps."""
        return time

    def work_time(self, cost: int) -> int:
        """What `work` of *cost* ps takes if it begins now: one of many equal pieces, charged by `stall`."""
        return cost

    def rule_locks(self, rule: LockRule) -> None:
        """From now on *rule* says what locks do."""
        self.locks = rule
        self.plain_locks = False

    # -- waiting --------------------------------------------------------------------------------------------

    def begin_wait(self, what: object) -> int:
        """Mark the thread as waiting for *what*; yield `PARKED` next. Returns the time, for `end_wait`."""
        self.waiting = True
        thread = self.thread
        assert thread is not None
        thread.waiting_for = what
        return self.engine._now

    def end_wait(self, since: int, activity: Activity, granted: int = 0) -> None:
        """Charge the wait that began at *since*, less what interrupts took of it, and what was *granted*."""
        self.waiting = False
        if self._turned_in_wait:
            for page, waited in self._turned_in_wait:
                page[activity.slot] += waited
            self._turned_in_wait.clear()
            since = self._turned_at
        account, slot = self.account, activity.slot
        account[slot] = account[slot] + self.engine._now - since - self._irq_in_wait + granted
        self._irq_in_wait = 0

    @property
    def spins(self) -> bool:
        """Whether the thread waits in a loop: it neither sleeps nor stalls on a line that is not here yet."""
        if not self.waiting or self.in_kernel_wait:
            return False
        return not getattr(self.thread.waiting_for, "stalls", False)  # type: ignore[union-attr]

    def park(self, what: object, activity: Activity) -> Steps[None]:
        """Wait until somebody pokes the cpu for *what*. The caller checks its condition before and after."""
        since = self.begin_wait(what)
        yield PARKED
        self.end_wait(since, activity)

    def poke(self, what: object, delay: int = 0) -> None:
        """End the wait for *what* after *delay* ps; nothing happens if the thread does not wait for it."""
        thread = self.thread
        assert thread is not None
        if thread.waiting_for is what:
            self.wake(delay)

    def wake(self, delay: int = 0) -> None:
        """Let the waiting thread go on after *delay* ps, or when the handler that runs then is done."""
        now = self.engine._now
        self._wakes_at = max(now + delay, self.irq_until)
        thread = self.thread
        assert thread is not None
        self.engine.wake(thread, self._wakes_at - now)

    def grant(self, cost: int) -> None:
        """End the wait for something that takes *cost* ps more, to be charged by `end_wait`.

        Without a handler in the way the thread goes on inside the caller's event.
        """
        self.pending = cost
        thread = self.thread
        assert thread is not None
        if self.irq_until > self.engine._now:
            self.wake()
        else:
            self.engine.resume(thread)

    def inject_delay(self, length: int) -> None:
        """The schedule delays the thread's next step by *length* ps; a wait is longer by that."""
        if self.waiting:
            self._wakes_at += length
        else:
            self.charge(length, INJECTED_DELAY)

    def set_need_resched(self) -> None:
        """Ask for a context switch; a spinner that may stop looks at once."""
        self.need_resched = True
        if self.spins_for is not None:
            self.poke(self.spins_for)

    def go_idle(self) -> None:
        """The thread sleeps in the kernel, or has ended."""
        self.in_kernel_wait = True
        self.probe.idle_begins(self)

    def leave_idle(self) -> None:
        """The thread runs again."""
        self.in_kernel_wait = False
        self.probe.idle_ends(self)

    def tlb_catch_up(self) -> None:
        """Leave lazy-TLB mode: do the flush that was skipped meanwhile."""
        if self.tlb.stale:
            self.tlb.stale = False
            self.tlb.flush()
            self.probe.tlb_flush(self, 0, remote=True)
            self.work(self.tlb.flush_cost, TLB_FLUSH)

    # -- interrupts -----------------------------------------------------------------------------------------

    def disable_interrupts(self) -> None:
        self._irqs_off += 1

    def enable_interrupts(self) -> None:
        """Take the interrupts that arrived meanwhile, if this ends the outermost section."""
        self._irqs_off -= 1
        if self._held_interrupts and not self._irqs_off:
            held, self._held_interrupts = self._held_interrupts, []
            for interrupt in held:
                length, done = interrupt(self)
                if self.heard:
                    self.probe.interrupt(self, self.now, length)
                self.stall(length, INTERRUPT)
                self.irq_until = self.now
                done(self.irq_until)

    def interrupt(self, handler: Interrupt) -> None:
        """An interrupt arrives now."""
        if self._irqs_off:
            self._held_interrupts.append(handler)
            return
        length, done = handler(self)
        end = self._steal(length)
        if self.heard:
            self.probe.interrupt(self, end - length, length)
        done(end)

    def prolong_interrupt(self, length: int) -> int:
        """The handler that ends now goes on for *length* ps; value: its new end."""
        end = self._steal(length)
        if self.heard:
            self.probe.interrupt_goes_on(self, end - length, length)
        return end

    def _steal(self, length: int) -> int:
        """A handler takes *length* ps, from now or from the end of the one before it on; value: its end."""
        now = self.engine._now
        end = (now if now > self.irq_until else self.irq_until) + length
        self.irq_until = end
        self.charge(length, INTERRUPT)
        thread = self.thread
        if self.waiting:
            self._irq_in_wait += length
            if end > self._wakes_at and thread.waiting_for is None:  # type: ignore[union-attr]
                # Woken, but not back yet: only what outlasts the rest of the wait delays the thread.
                thread.stolen += end - self._wakes_at  # type: ignore[union-attr]
                self._wakes_at = end
        elif thread is not None:
            thread.stolen += length
        return end

    # -- accounting -----------------------------------------------------------------------------------------

    def open_account(self) -> None:
        """Start a new account at the engine's time."""
        self.account = blank_account()
        self._pages.clear()
        self._since = self.engine._now

    def make_room(self) -> None:
        """Give the account a row for each activity that there is by now."""
        for page in (self.account, *self._pages):
            page.extend([0] * (len(blank_account()) - len(page)))

    def turn_page(self) -> None:
        """Begin a new page of the account at the engine's time T.

        A wait, and a handler inside it, are split at T. Private work is charged when it begins and stays on
        the page on which it began: a page of a cpu at work is off by what is left of that piece (a part of
        an operation).
        """
        now = self.engine._now
        page, self.account = self.account, blank_account()
        if self.waiting:
            beyond = max(0, self.irq_until - now)
            if beyond:
                page[INTERRUPT.slot] -= beyond
                self.account[INTERRUPT.slot] = beyond
            self._irq_in_wait = beyond
            waited = now - self._since - sum(page) - sum(map(sum, self._pages))
            waited -= sum(part for _, part in self._turned_in_wait) + self.ahead
            self._turned_in_wait.append((page, waited))
            self._turned_at = now
        self._pages.append(page)

    def leave(self) -> None:
        """The thread is done; the cpu idles (and still takes interrupts) until `close_account`."""
        self.go_idle()
        self._left = self.begin_wait("nothing: it has ended")

    def close_account(self) -> None:
        """Charge the idle time after the thread's end, then hold the account against the clock.

        Raises `AccountingError` unless the activities of all pages sum to the time since `open_account`,
        exactly.
        """
        now = self.engine._now
        beyond = max(0, self.irq_until - now)
        self.charge(-beyond, INTERRUPT)
        self._irq_in_wait -= beyond
        self.end_wait(self._left, IDLE)
        if self.ahead:
            self.charge(self.ahead, GIVEN_BACK)
        charged = sum(self.account) + sum(map(sum, self._pages))
        if charged != now - self._since:
            raise AccountingError(
                f"{self}: {charged} ps are accounted for, {now - self._since} ps passed: {self.spent}"
            )


@mypyc_attr(allow_interpreted_subclasses=True)
class SmtCpu(Cpu):
    """A cpu with a sibling that is online: its own work takes *slowdown* times as long while that one works.

    Each further sibling at work adds as much again. One that spins adds *spin_share* of it: its loop of loads
    and PAUSEs takes slots of the core, too. One that sleeps, has ended, or waits for a cache line adds
    nothing. Siblings are looked at when the work begins, so a piece of work is slowed as a whole or not at
    all; the pieces between two shared accesses are short. Transfers, memory and interrupt handlers are not
    slowed.
    """

    __slots__ = ("_extra", "_extra_beside_spinner", "siblings")

    steady: ClassVar[bool] = False

    def __init__(
        self, engine: Engine, cpu_id: int, seat: Seat, slowdown: float, spin_share: float = 0
    ) -> None:
        super().__init__(engine, cpu_id, seat)
        self._extra = slowdown - 1
        self._extra_beside_spinner = self._extra * spin_share
        self.siblings: list[Cpu] = []

    def work(self, cost: int, activity: Activity) -> None:
        """Spend *cost* ps, or longer beside siblings at work, on *activity*."""
        self.stall(self.work_time(cost), activity)

    def work_time(self, cost: int) -> int:
        return cost + round(cost * self._slowed_by())

    def work_within(self, time: int) -> int:
        return max(1, int(time / (1 + self._slowed_by())))

    def _slowed_by(self) -> float:
        """What siblings at work add to each piece of work, relative to it."""
        extra = 0.0
        for sibling in self.siblings:
            if (thread := sibling.thread) is None or not thread.is_alive:
                continue
            if not sibling.waiting:
                extra += self._extra
            elif self._extra_beside_spinner and sibling.spins:
                extra += self._extra_beside_spinner
        return extra
