"""Read-copy-update: readers write nothing shared, and what they may still see is freed after a grace period.

A reader only keeps its cpu from switching. A deferred callback waits until every cpu has passed a
*quiescent state*, a moment outside any read section (a context switch; in preemptible kernels also the end
of a section):

    cpu A   [ read ]   defer(f)                               f()
    cpu B      [   read   ]   switch                          ^
    cpu C   [            read            ]        switch      |
                       |-------------- grace period ----------|

Callbacks come in batches: those of the period under way, and those that came since and wait for the next one.

Invariant: a callback never runs while a cpu is inside a read section that began before its `defer`.

With a *tick* a cpu also passes a quiescent state at the first timer tick that finds it outside a read
section. All cpus tick at the same time, as Linux's do unless told to `skew_tick`.

Sources: CortenMM artifact, ostd/src/sync/rcu (one list under a global spin lock, a mask of cpus, only context
switches count, the cpu that completes a period runs the callbacks); Linux 6.13, Documentation/RCU and
kernel/rcu/tree.c (a list a cpu, idle cpus are quiescent, callbacks run in a softirq of the cpu that deferred
them). The rcu_node tree that collects Linux's quiescent states is not modelled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from sim.engine import Activity, Steps
from sim.errors import ModelError
from sim.hardware import Cpu, Machine
from sim.sync.nodes import QueueNodes
from sim.sync.spin import QueuedSpinLock

RCU: Final = Activity("rcu")

Callback = Callable[[Cpu], int]
"""Runs after the grace period on the given cpu; returns its cost in ps."""


class _Deferred(NamedTuple):
    cpu: Cpu
    callback: Callback


class Rcu:
    """Grace periods over all cpus of *machine*.

    *global_list*: one list of callbacks under a queued spin lock, as in the artifact; otherwise each cpu has
    its own, as in Linux. *preemptible_exit*: leaving the outermost read section is a quiescent state.
    *idle_counts*: a cpu without a thread, or whose thread sleeps, holds up nothing. *tick* is the time
    between timer ticks (ps); without one, ticks do not count. *periods* counts the periods that have ended.
    """

    __slots__ = (
        "_current",
        "_ends_at",
        "_holding_up",
        "_idle_counts",
        "_lock",
        "_machine",
        "_monitoring",
        "_nesting",
        "_next",
        "_preemptible_exit",
        "_tick",
        "activity",
        "periods",
    )

    def __init__(
        self,
        machine: Machine,
        *,
        global_list: bool,
        preemptible_exit: bool = False,
        idle_counts: bool = True,
        tick: int | None = None,
        activity: Activity = RCU,
    ) -> None:
        self.activity = activity
        self.periods = 0
        self._machine = machine
        self._preemptible_exit = preemptible_exit
        self._idle_counts = idle_counts
        self._tick = tick
        self._nesting = [0] * len(machine.cpus)
        self._current: list[_Deferred] = []
        self._next: list[_Deferred] = []
        self._holding_up = 0
        self._ends_at = 0
        self._monitoring = machine.line("rcu is_monitoring")
        self._lock: QueuedSpinLock | None = None
        if global_list:
            self._lock = QueuedSpinLock(QueueNodes(machine, "rcu"), machine.line("rcu state"), activity)

    @property
    def deferred(self) -> int:
        """Callbacks that have not run yet."""
        return len(self._current) + len(self._next)

    def callbacks(self) -> list[Callback]:
        """Those that have not run yet, the oldest first."""
        return [deferred.callback for deferred in (*self._current, *self._next)]

    # -- read side ------------------------------------------------------------------------------------------

    def read_lock(self, cpu: Cpu) -> None:
        """Enter a read section (preemption off). Sections nest."""
        self._nesting[cpu.id] += 1
        if cpu.heard:
            cpu.probe.rcu_read_begins(cpu)

    def read_unlock(self, cpu: Cpu) -> None:
        """Leave a read section. Raises `ModelError` outside of one."""
        if not self._nesting[cpu.id]:
            raise ModelError(f"{cpu} leaves an RCU read section that it is not in")
        self._nesting[cpu.id] -= 1
        if cpu.heard:
            cpu.probe.rcu_read_ends(cpu)
        if self._preemptible_exit and not self._nesting[cpu.id]:
            self._raise_softirqs(self._pass(cpu))

    def is_reading(self, cpu: Cpu) -> bool:
        return self._nesting[cpu.id] > 0

    # -- grace periods --------------------------------------------------------------------------------------

    def defer(self, cpu: Cpu, callback: Callback) -> Steps[None]:
        """Let *callback* run after a grace period that begins now or later."""
        if cpu.pending:
            yield cpu.take_pending()
        lock = self._lock
        if lock is None:
            self._queue(_Deferred(cpu, callback))
            return
        cpu.disable_interrupts()
        yield from lock.acquire(cpu)
        if self._queue(_Deferred(cpu, callback)):
            yield from self._monitoring.write(cpu, self.activity)
        yield from lock.release(cpu)
        cpu.enable_interrupts()

    def defer_again(self, cpu: Cpu, callback: Callback) -> None:
        """`defer` by a callback, where each cpu has its own list."""
        assert self._lock is None
        self._queue(_Deferred(cpu, callback))

    def quiescent(self, cpu: Cpu) -> Steps[None]:
        """*cpu* passes a quiescent state: a context switch, the sleep or the end of its thread.

        With a global list the cpu that completes the period runs the callbacks here. Raises `ModelError`
        inside a read section.
        """
        if self._nesting[cpu.id]:
            raise ModelError(f"{cpu} switches context inside an RCU read section")
        if cpu.pending:
            yield cpu.take_pending()
        lock = self._lock
        if lock is None:
            self._raise_softirqs(self._pass(cpu))
            return
        yield from self._monitoring.read(cpu, self.activity)
        if not self._holding_up:
            return
        if cpu.pending:
            yield cpu.take_pending()
        cpu.disable_interrupts()
        yield from lock.acquire(cpu)
        ready = self._pass(cpu)
        if ready and not self._holding_up:
            yield from self._monitoring.write(cpu, self.activity)
        yield from lock.release(cpu)
        cpu.enable_interrupts()
        if ready and cpu.pending:
            yield cpu.take_pending()
        for _, callback in ready:
            cpu.work(_run(callback, cpu), self.activity)

    def settle(self) -> None:
        """No thread runs: let the grace periods pass and run every callback."""
        ready = [*self._current, *self._next]
        self._current, self._next, self._holding_up = [], [], 0
        for cpu, callback in ready:
            callback(cpu)

    def _queue(self, deferred: _Deferred) -> bool:
        """Add to the next batch; begin a period if none is under way. Returns whether one began."""
        self._next.append(deferred)
        if deferred.cpu.heard:
            deferred.cpu.probe.rcu_deferred(deferred.cpu, deferred.callback)
        if self._holding_up:
            return False
        self._begin()
        return True

    def _begin(self) -> None:
        self._current, self._next = self._next, []
        self._holding_up = sum(cpu.bit for cpu in self._machine.cpus if not self._is_idle(cpu))
        if self._tick is not None:
            self._holding_up |= self._machine.cpus[0].bit  # the period's own thread runs somewhere
            self._await_tick(self._tick)

    def _await_tick(self, tick: int) -> None:
        engine = self._machine.engine
        engine.call_in(tick - engine._now % tick, partial(self._on_tick, tick))

    def _on_tick(self, tick: int) -> None:
        """All cpus tick; who is not in a read section is quiescent."""
        period = self.periods
        for cpu in self._machine.cpus:
            if self._holding_up & cpu.bit and not self.is_reading(cpu):
                self._raise_softirqs(self._pass(cpu))
            if self.periods != period:
                return  # the next period, if there is one, waits for the next tick
        self._await_tick(tick)

    def _pass(self, cpu: Cpu) -> list[_Deferred]:
        """Note that *cpu* is quiescent; returns the callbacks that may run if that ends the period."""
        if not self._holding_up:
            return []
        self._ends_at = max(self._ends_at, cpu.now)
        self._holding_up &= ~cpu.bit
        for other in self._machine.cpus:
            if self._holding_up & other.bit and self._is_idle(other):
                self._holding_up &= ~other.bit
        if self._holding_up:
            return []
        self.periods += 1
        ready, self._current = self._current, []
        if self._next:
            self._begin()
        return ready

    def _is_idle(self, cpu: Cpu) -> bool:
        return self._idle_counts and (cpu.thread is None or cpu.in_kernel_wait)

    def _raise_softirqs(self, ready: list[_Deferred]) -> None:
        """Run each callback in a softirq of the cpu that deferred it, once every cpu's own time is there."""
        engine = self._machine.engine
        for cpu, callback in ready:
            softirq = partial(cpu.interrupt, partial(_softirq, callback))
            engine.call_in(max(0, self._ends_at - engine._now), softirq)


def _softirq(callback: Callback, cpu: Cpu) -> tuple[int, Callable[[int], None]]:
    return _run(callback, cpu), lambda _: None


def _run(callback: Callback, cpu: Cpu) -> int:
    """Run *callback*, whose period is over; returns its cost."""
    if cpu.heard:
        cpu.probe.rcu_over(cpu, callback)
    return callback(cpu)
