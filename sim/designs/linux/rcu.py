"""Tree RCU as memory operations meet it: call_rcu, grace periods that ticks move on, callbacks in batches.

    cpu A   call_rcu(f)                                                     f()
    cpu B   in a system call .......... tick: user mode                     ^ A's next entry into the kernel
    cpu C   spins for a lock ......................... tick: let go         |
                 |------- rest of the period ------|-------- a period -----|

Each cpu has a list of its own (rcu_segcblist); nothing of it is shared. A grace period lasts until every cpu
has passed a *quiescent state*: a timer tick that finds it in user mode or idle, or a context switch. With
*preemptible* RCU a tick in kernel code counts too, unless preemption is off, as it is for who spins for a
lock. (Who holds a spin lock has it off as well; here such a tick counts.) The border is crossed with
interrupts off: a tick that comes on the way out is taken in user mode. It lasts *least* at least, because
the kernel's thread looks at idle cpus that late. From the age *urgent* on the tick asks the cpus that still
hold it up for a context switch (need_resched). Who spins for a sleeping lock then stops and sleeps;
everybody else switches on the way back to user mode.

A callback that comes during a period waits for the end of the next one. When it is over, callbacks run on
their cpu, some at each entry into the kernel, as the softirq does it between two looks at what else there is
to do. (Linux runs them at the end of any interrupt; here that is the next entry. So they never lengthen the
section of a lock, and a cpu that spins has to do them afterwards.)

A softirq ends after *restarts* batches and leaves the rest to ksoftirqd, a thread of that cpu, which does it
in one go. So a cpu with more callbacks than that does a batch at its next entry and all others at the one
after, as do all cpus, for whom the period has ended at the same time. Whoever spins there for a sleeping
lock has to make way, and sleeps. (Neither waits for a slice of the other.)

Ticks come to all cpus at the same time, and none comes when no thread lives: a run ends with its threads.

A period can be *hastened*, for a run that is too short for whole ones (`sim.workload.window`): it need not
last any longer, and ticks come thick and fast until all cpus have been quiescent. How many times as long it
would have lasted is its *stretch*. Without preemptible RCU it is the ticks that say how long: each of them
stands for one of those that are a *tick* apart.

Source: 6.13, kernel/rcu/tree.c (rcu_sched_clock_irq, rcu_do_batch, adjust_jiffies_till_sched_qs) and
tree_plugin.h (rcu_flavor_sched_clock_irq); kernel/softirq.c (handle_softirqs). Left out: the tree of
rcu_nodes, offloaded callbacks; that a cpu with 20,000 callbacks makes the others hurry (qovld); that a switch
to ksoftirqd is a quiescent state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from sim.designs.linux.rcu_spec import RcuSpec
from sim.engine import Steps
from sim.sync import RCU

if TYPE_CHECKING:
    from sim.engine import Background
    from sim.hardware import Cpu, Machine, Task

T = TypeVar("T")

_TICKS_OF_HASTE: Final = 100
"""Ticks of a hastened period in the time of one."""

Callback = Callable[["Cpu"], Steps[None]]
"""Runs on the cpu that deferred it, with all that its lines and locks cost."""


class TreeRcu:
    """Grace periods over all cpus of *machine*; *periods* counts those that have ended."""

    __slots__ = (
        "_asked",
        "_began",
        "_callback",
        "_done",
        "_entered",
        "_hastened",
        "_holding_up",
        "_in_kernel",
        "_in_softirq",
        "_left",
        "_machine",
        "_new",
        "_next_tick",
        "_preemptible",
        "_softirqd",
        "_spec",
        "_ticks",
        "_timer",
        "_waiting",
        "after_burst",
        "call_cost",
        "called",
        "on_period",
        "periods",
        "stretch",
    )

    def __init__(self, machine: Machine, spec: RcuSpec) -> None:
        self._machine = machine
        self._spec = spec
        self._callback = spec.callback.at(machine.spec.plain_clock)
        self.call_cost = spec.call.at(machine.spec.plain_clock)
        self.periods = 0
        self.called = 0
        built = machine.spec.kernel.preempt_rcu
        self._preemptible = spec.preemptible if built is None else built
        self._in_kernel: set[Task] = set()
        self._entered = [0] * len(machine.cpus)  # when its thread did last
        self._left = [0] * len(machine.cpus)
        self._new: list[list[Callback]] = [[] for _ in machine.cpus]
        self._waiting: list[list[Callback]] = [[] for _ in machine.cpus]
        self._done: list[deque[Callback]] = [deque() for _ in machine.cpus]
        self._holding_up = 0
        self._asked = 0
        self._began: int | None = None  # when the period under way did
        self._hastened = False
        self._in_softirq = 0  # cpus that run callbacks
        self._softirqd = 0  # cpus on which ksoftirqd comes next
        self._ticks = 0  # of the period under way
        self._timer: Background | None = None
        self._next_tick = 0
        self.on_period: Callable[[], None] | None = None
        """Told that a period has just ended."""
        self.stretch = 1.0
        """The length of the last period, had it not been hastened, over the length that it had."""
        self.after_burst: Callable[[Cpu], Steps[None]] | None = None
        """What a cpu does when it has run the last callback of a period that was hastened."""

    def pending(self, cpu: Cpu) -> int:
        """Callbacks of *cpu* that have not run yet."""
        return len(self._new[cpu.id]) + len(self._waiting[cpu.id]) + len(self._done[cpu.id])

    @property
    def backlog(self) -> int:
        """Callbacks of all cpus that have not run yet."""
        return sum(self.pending(cpu) for cpu in self._machine.cpus)

    # -- callbacks ------------------------------------------------------------------------------------------

    def call(self, cpu: Cpu, callback: Callback) -> None:
        """call_rcu: run *callback* on *cpu* when all that may look at its object now have gone."""
        self._new[cpu.id].append(callback)
        self.called += 1
        if self._began is None:
            self._begin()
        elif self._timer is None or self._timer.dropped:
            self._await_tick()

    def in_kernel(self, cpu: Cpu, steps: Steps[T]) -> Steps[T]:
        """Enter the kernel, let callbacks run whose time has come, do *steps*, and leave."""
        done = self._done[cpu.id]
        if done:
            yield from self._do_batch(cpu, done)
        task = cpu.current
        self._in_kernel.add(task)
        self._entered[cpu.id] = cpu.now
        try:
            return (yield from steps)
        finally:
            self._in_kernel.discard(task)
            self._left[cpu.id] = cpu.now
            if cpu.need_resched:  # exit_to_user_mode_loop: schedule, which goes on with the same thread
                cpu.need_resched = False
                self.quiescent(cpu)

    def _do_batch(self, cpu: Cpu, done: deque[Callback]) -> Steps[None]:
        """rcu_do_batch: one batch in the softirq, or all that is left in ksoftirqd."""
        ready = len(done)
        in_softirqd = self._softirqd & cpu.bit
        if not in_softirqd and self._is_too_much(ready):
            self._softirqd |= cpu.bit
        self._in_softirq |= cpu.bit
        for _ in range(ready if in_softirqd else min(ready, self._batch(ready))):
            callback = done.popleft()
            cpu.work(self._callback, RCU)
            yield from callback(cpu)
        if cpu.pending:
            yield cpu.take_pending()
        self._in_softirq &= ~cpu.bit
        if not done:
            self._softirqd &= ~cpu.bit
            if self.stretch > 1 and self.after_burst is not None:
                yield from self.after_burst(cpu)

    def _is_too_much(self, ready: int) -> bool:
        """Whether a softirq leaves so many callbacks to ksoftirqd."""
        return ready > self._spec.restarts * self._batch(ready)

    def _batch(self, ready: int) -> int:
        """How many of so many *ready* callbacks the softirq does at a time."""
        return max(self._spec.batch, ready >> self._spec.share)

    # -- grace periods --------------------------------------------------------------------------------------

    def quiescent(self, cpu: Cpu) -> None:
        """rcu_note_context_switch."""
        self._holding_up &= ~cpu.bit

    def _begin(self) -> None:
        self._began = self._machine.engine._now
        self._holding_up = (1 << len(self._machine.cpus)) - 1
        self._asked = 0
        self._ticks = 0
        self._new, self._waiting = self._waiting, self._new
        self._await_tick()

    @property
    def under_way(self) -> bool:
        """Whether callbacks wait for the end of a period."""
        return self._began is not None

    def hasten(self) -> None:
        """Let the period under way end as soon as each cpu has been quiescent at a tick."""
        if self._began is not None and not self._hastened:
            self._hastened = True
            self._await_tick()

    def _await_tick(self) -> None:
        engine, tick = self._machine.engine, self._spec.tick
        if self._hastened:
            tick //= _TICKS_OF_HASTE
        self._next_tick = engine._now - engine._now % tick + tick
        self._timer = engine.call_in_background(self._next_tick - engine._now, self._on_tick)

    def _on_tick(self) -> None:
        now = self._machine.engine._now
        if self._began is None or now != self._next_tick:
            return  # of a period that was hastened since
        age = now - self._began
        self._ticks += 1
        for cpu in self._machine.cpus:
            if not self._holding_up & cpu.bit:
                continue
            if self._is_quiescent(cpu) or (self._asked & cpu.bit and not cpu.need_resched):
                self._holding_up &= ~cpu.bit
            elif age >= self._spec.urgent:
                self._asked |= cpu.bit
                cpu.set_need_resched()
        if self._holding_up or (age < self._spec.least and not self._hastened):
            self._await_tick()
            return
        self._end(age)

    def _end(self, age: int) -> None:
        self.periods += 1
        for cpu, done, waiting in zip(self._machine.cpus, self._done, self._waiting, strict=True):
            done += waiting
            waiting.clear()
            if self._is_too_much(len(done)):
                self._wake_softirqd(cpu)
        self.stretch = max(1.0, self._whole() / age) if self._hastened else 1.0
        self._began = self._timer = None
        self._hastened = False
        if any(self._new):
            self._begin()
        if self.on_period is not None:
            self.on_period()

    def _whole(self) -> int:
        """How long (ps) the period that ends now would have lasted without haste."""
        tick = self._spec.tick
        ticks = -(-self._spec.least // tick)
        if not self._preemptible:
            ticks = max(ticks, min(self._ticks, self._spec.urgent // tick))
        return ticks * tick

    def _wake_softirqd(self, cpu: Cpu) -> None:
        """wakeup_softirqd, where a thread is in the kernel that may have to make way."""
        makes_way = cpu.spins or self._preemptible
        if makes_way and cpu.current in self._in_kernel and not cpu.in_kernel_wait:
            cpu.set_need_resched()

    def _is_quiescent(self, cpu: Cpu) -> bool:
        thread = cpu.thread
        if thread is None or not thread.is_alive or cpu.in_kernel_wait:
            return True
        if self._in_softirq & cpu.bit:
            return False
        in_kernel = cpu.current in self._in_kernel
        if self._preemptible:
            return not in_kernel or (not cpu.preempt_off and not cpu.spins)
        now = self._machine.engine._now
        if in_kernel:  # both ways across the border are paid for on the way in: here comes the way out
            return now < self._entered[cpu.id] + self._machine.entry.way_out
        return now >= self._left[cpu.id]
