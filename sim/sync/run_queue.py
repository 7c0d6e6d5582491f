"""Run queues: cpus with several threads pinned to them, one of which runs while the others sleep or wait.

    thread A   |== user ==|== kernel ==|  switch  |          ready            |== user ==
    thread B    ready                             |==== user ====|= kernel =|s|  asleep ....
    tick                  ^ A's slice has ended   ^              ^
                          | A is in the kernel: it goes on until it returns to user mode

Order. Ready threads run in the order in which they became ready. That is EEVDF for threads of one weight that
have had their share: each pick is for one request (`slice`), whose deadline is the earlier, the earlier the
request was made. A thread that sleeps makes a new request when it wakes; one that computes makes the next one
when the tick finds the last one used up (update_deadline), whether anybody waits for the cpu or not.

Preemption. The tick asks for a switch if the slice is used up and somebody is ready; nobody is interrupted in
the kernel, so the switch comes on the way back to user mode (`RunQueues.preempt`, PREEMPT_NONE and
PREEMPT_VOLUNTARY). A thread that wakes up does not take the cpu from one that is inside its slice: it queues.
That is RUN_TO_PARITY for a running thread that has not had more than its share; one that has would lose the
cpu to a thread that is owed time. Spinners on sleeping locks look whether their cpu is wanted and stop.

Switches. One that gives the cpu away pays `context_switch`, then the next runs; if its process is another
one than the cpu has loaded, it first loads that address space. With nobody ready the cpu idles; the wake-up
that ends this has the latency of an idle cpu, and the idle time is charged to what that thread waited for.

Invariants: only `Cpu.current` has entries in the engine's queue; the other threads of the cpu are parked, in
*ready* or for a `Sleeper`. A cpu idles only while nobody is ready.

Source: Linux 6.13, kernel/sched/fair.c (update_curr, update_deadline, pick_eevdf, check_preempt_wakeup_fair).
Left out: lag, and wake-ups that preempt by it; weights, delayed dequeueing of sleepers, load balancing and
migration, cond_resched inside the kernel, the tick's own time, the second tick after which PREEMPT_LAZY
insists.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from sim.engine import PARKED, Activity, Steps, Thread
from sim.engine.costs import at_clock
from sim.errors import ModelError
from sim.hardware import IDLE, Cpu, Lent, Machine, Task
from sim.sync.sleeper import Sleeper

SCHED: Final = Activity("sched")

_ENDLESS: Final = 1 << 62
"""Ps: longer than any run."""

SwitchSpace = Callable[[Cpu, Any], Steps[None]]
"""Loads the address space of a process on a cpu."""

NoteSwitch = Callable[[Cpu], Steps[None]]
"""What the kernel does at each context switch (rcu_note_context_switch)."""


class SwitchCosts:
    """What switches and wake-ups cost on one machine (ps): *interrupt* is what a waker pays on top for a cpu
    that idles and watches no flag."""

    __slots__ = (
        "_draw",
        "_idle",
        "_wake_idle",
        "_wake_spread",
        "before_switch",
        "in_vain",
        "interrupt",
        "send",
        "switch",
    )

    def __init__(self, machine: Machine) -> None:
        spec = machine.spec
        costs = at_clock(spec.kernel, spec.clock)
        self.switch = costs.context_switch
        self.send = costs.wake_send
        self.in_vain = costs.wake_in_vain
        self.before_switch = costs.before_switch
        icr = spec.interrupts
        one_target = icr.icr_write.at(spec.clock) + icr.icr_target.at(spec.clock)
        self.interrupt = one_target if costs.wake_by == "interrupt" else 0
        self._wake_idle = costs.wake_idle
        self._wake_spread = costs.wake_spread
        self._idle = machine.idle
        self._draw = machine.engine.stream("wake-ups").random

    def wake_latency(self, cpu: Cpu, idle: int | None) -> int:
        """How long *cpu*, which has been *idle* for so long, takes to run a woken thread. None: its idle loop
        has found need_resched set before it has chosen a state (do_idle)."""
        latency = self._wake_idle
        if idle is not None:
            latency += self._idle.leave(cpu.id, idle)
        return int(latency * (1 + self._wake_spread * (2 * self._draw() - 1)))


class QueuedTask(Task):
    """A thread of a cpu that has several. *process* is whose address space it runs in, None if nobody asks.

    *awaits* is who has to be woken for it to become ready, while it sleeps.
    """

    __slots__ = ("awaits", "process", "queue", "thread")

    thread: Thread

    def __init__(self, queue: RunQueue, name: str, process: object) -> None:
        super().__init__(queue.cpu, name)
        self.queue = queue
        self.process = process
        self.awaits: Sleeper | None = None


class RunQueue:
    """The threads of one *cpu*; *ready* are those that could run.

    *slice_ends* is the tick at which the running one has used up its slice (ps).
    """

    __slots__ = (
        "_alarmed",
        "_alive",
        "_borrowed",
        "_costs",
        "_idle",
        "_idle_since",
        "_loaded",
        "_note_switch",
        "_period",
        "_slice",
        "_spinning_for",
        "_switch_mm",
        "_tick",
        "cpu",
        "ready",
        "slice_ends",
    )

    def __init__(
        self,
        cpu: Cpu,
        costs: SwitchCosts,
        slice_: int,
        tick: int,
        switch_mm: SwitchSpace | None,
        note: NoteSwitch | None,
    ) -> None:
        self.cpu = cpu
        self.ready: deque[QueuedTask] = deque()
        self._costs = costs
        self._slice = slice_
        self._tick = tick
        self._period = -(-slice_ // tick) * tick
        self._switch_mm = switch_mm
        self._note_switch = note
        self._alive = 0
        self._borrowed: Lent | None = None
        self._idle = False
        self._idle_since = 0
        self.slice_ends = 0
        self._loaded: object = None
        self._spinning_for: object = None
        self._alarmed = False

    def describe_wait(self) -> str:
        return f"its turn on {self.cpu}, which runs {self.cpu.current}"

    # -- threads --------------------------------------------------------------------------------------------

    def spawn(self, body: Callable[[Cpu], Steps[None]], name: str, process: object) -> QueuedTask:
        """A new thread, ready to run *body*."""
        task = QueuedTask(self, name, process)
        task.thread = self.cpu.engine.process(self._life(task, body), name)
        first = not self._alive and not self._idle
        self._alive += 1
        if first:
            self._run(task)
        else:
            self._enqueue(task, 0)
        return task

    def fork(self, body: Callable[[Cpu], Steps[None]], name: str, process: object, parent: Cpu) -> QueuedTask:
        """A new thread, which one that runs on *parent* has made: an idle cpu has to wake up for it."""
        task = QueuedTask(self, name, process)
        task.thread = self.cpu.engine.process(self._life(task, body), name)
        self._alive += 1
        self._enqueue(task, parent.pending, parent)
        return task

    def _life(self, task: QueuedTask, body: Callable[[Cpu], Steps[None]]) -> Steps[None]:
        cpu = self.cpu
        yield PARKED
        yield from self._comes(task, IDLE)
        yield from body(cpu)
        if cpu.pending:
            yield cpu.take_pending()
        if self._alive > 1:
            yield from self._switch_away()
        elif self._note_switch is not None:
            yield from self._note_switch(cpu)
            if cpu.pending:
                yield cpu.take_pending()
        self._alive -= 1
        if not self._alive:
            self._idle = True
            self._idle_since = cpu.engine._now
            cpu.leave()
        elif self.ready:
            self._run(self.ready.popleft())
        else:
            self._go_idle("nothing: it has ended")

    # -- giving the cpu away and having it back -------------------------------------------------------------

    def block(self, task: QueuedTask, sleeper: Sleeper, activity: Activity) -> Steps[None]:
        """*task* sleeps until *sleeper* is woken and the cpu is free. Idle time goes to *activity*."""
        task.awaits = sleeper
        yield from self._switch_away()
        if sleeper.woken and not self.ready:  # woken meanwhile: the idle task finds it on its list
            task.awaits = None
            if (mm := self.cpu.active_mm) is not None:
                yield from mm.borrow(self.cpu)
            self.cpu.stall(self._costs.wake_latency(self.cpu, None), SCHED)
            if mm is not None:
                yield from mm.give_back(self.cpu)
            if self.cpu.pending:
                yield self.cpu.take_pending()
        else:
            yield from self._wait(task, sleeper, activity)

    def give_away(self, task: QueuedTask) -> Steps[None]:
        """*task* could go on, but it is the others' turn."""
        self.ready.append(task)
        yield from self._switch_away()
        yield from self._wait(task, self, SCHED)

    def _switch_away(self) -> Steps[None]:
        """__schedule up to the choice of the next thread."""
        cpu = self.cpu
        if self._note_switch is not None:
            yield from self._note_switch(cpu)
        cpu.probe.context_switch(cpu)
        cpu.work(self._costs.switch, SCHED)
        yield cpu.take_pending()

    def _wait(self, task: QueuedTask, what: object, activity: Activity) -> Steps[None]:
        """Run somebody else, or idle, until it is *task*'s turn again."""
        if not self.ready and (mm := self.cpu.active_mm) is not None:
            yield from mm.borrow(self.cpu)
            self._borrowed = mm
            if self.cpu.pending:
                yield self.cpu.take_pending()
        following = self.ready.popleft() if self.ready else None
        if following is not task:
            task.leaves_cpu()
            if following is None:
                self._go_idle(what)
            else:
                task.thread.waiting_for = self if task.awaits is None else what
                self._run(following)
            yield PARKED
        yield from self._comes(task, activity)

    def _run(self, task: QueuedTask) -> None:
        """*task* has the cpu from now on."""
        self.cpu.current = task
        self.cpu.thread = task.thread
        self.cpu.engine.wake(task.thread)

    def _go_idle(self, what: object) -> None:
        self.cpu.go_idle()
        self._idle = True
        self._idle_since = self.cpu.begin_wait(what)

    def _comes(self, task: QueuedTask, activity: Activity) -> Steps[None]:
        """*task* begins to run: first, if the cpu was idle, *activity* gets that time."""
        cpu = self.cpu
        if cpu.waiting:
            cpu.end_wait(self._idle_since, activity)
            cpu.leave_idle()
            cpu.probe.context_switch(cpu)
        self.slice_ends = -(-(cpu.engine._now + self._slice) // self._tick) * self._tick
        if self._switch_mm is not None and task.process is not self._loaded:
            self._loaded = task.process
            yield from self._switch_mm(cpu, task.process)
        else:
            cpu.tlb_catch_up()
        if (mm := self._borrowed) is not None:
            self._borrowed = None
            yield from mm.give_back(cpu)

    # -- waking ---------------------------------------------------------------------------------------------

    def wake(self, task: QueuedTask, sleeper: Sleeper, after: int, waker: Cpu | None) -> None:
        """*task* is ready *after* ps from now, if it still sleeps as *sleeper*."""
        if self._idle:
            self._arrive(task, sleeper, after, waker)
            return
        self.cpu.probe.wake(waker, self.cpu, after)
        if waker is self.cpu:  # nobody else runs here before its time has come
            self._arrive(task, sleeper, 0, waker)
        else:
            self.cpu.engine.call_in(after, partial(self._arrive, task, sleeper, 0, waker))

    def _arrive(self, task: QueuedTask, sleeper: Sleeper, after: int, waker: Cpu | None) -> None:
        if task.awaits is sleeper and sleeper.woken:
            task.awaits = None
            self._enqueue(task, after, waker)

    def _enqueue(self, task: QueuedTask, after: int, waker: Cpu | None = None) -> None:
        """*task* is ready: an idle cpu starts it, *after* ps later and then the wake-up's latency."""
        cpu = self.cpu
        if self._idle:
            self._idle = False
            delay = after + self._costs.wake_latency(cpu, cpu.engine._now - self._idle_since)
            cpu.probe.wake(waker, cpu, delay)
            cpu.current = task
            cpu.thread = task.thread
            cpu.wake(delay)
            return
        if not self.ready:
            self._renew(cpu.engine._now)
        self.ready.append(task)
        if cpu.current is not task:
            task.thread.waiting_for = self
        self._set_alarm()

    # -- slices ---------------------------------------------------------------------------------------------

    def need_resched(self) -> bool:
        """Whether the tick has found that the slice is used up and others wait."""
        return bool(self.ready) and self.cpu.engine._now >= self.slice_ends

    def catch_up(self) -> Steps[None]:
        """The cpu's time has come to the end of the slice: switch, or begin another one."""
        cpu = self.cpu
        if cpu.pending:
            yield cpu.take_pending()
        if self.need_resched():
            task = cpu.current
            assert isinstance(task, QueuedTask)
            yield from self.give_away(task)
        else:
            self._renew(cpu.engine._now)

    def _renew(self, now: int) -> None:
        """Nobody has waited: ticks have found slices used up and begun others."""
        if now >= self.slice_ends:
            self.slice_ends += self._period * ((now - self.slice_ends) // self._period + 1)

    # -- spinning -------------------------------------------------------------------------------------------

    def spins_for(self, lock: object) -> None:
        """The thread is about to spin for *lock*, or has stopped (None): the tick tells it to look."""
        self._spinning_for = lock
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._spinning_for is not None and self.ready and not self._alarmed:
            self._alarmed = True
            engine = self.cpu.engine
            engine.call_in(max(0, self.slice_ends - engine._now), self._ring)

    def _ring(self) -> None:
        self._alarmed = False
        if self._spinning_for is not None and self.need_resched():
            self.cpu.poke(self._spinning_for)
        else:
            self._set_alarm()


class RunQueues:
    """A run queue for each cpu of *machine*, to be built where there are more threads than cpus.

    Build it when no thread lives; from then on every thread of the machine is made by `spawn`, and a cpu
    whose account is open has at least one. Threads stay on their cpu.

    *switch_mm* is run by a thread that comes to a cpu which has another process loaded, or none;
    *note_switch* by one that gives the cpu away, at each context switch.

    Where no threads share a cpu (*shared* is false) slices never end.

    Raises `ModelError` if they do and the machine's file does not say how long slices are.
    """

    __slots__ = ("_queues",)

    def __init__(
        self,
        machine: Machine,
        *,
        switch_mm: SwitchSpace | None = None,
        note_switch: NoteSwitch | None = None,
        shared: bool = True,
    ) -> None:
        kernel = machine.spec.kernel
        slice_, tick = (kernel.slice, kernel.tick) if shared else (_ENDLESS, _ENDLESS)
        if slice_ is None or tick is None:
            raise ModelError(
                f"{machine.spec.name} has no `kernel.slice`: it cannot have more threads than cpus"
            )
        costs = SwitchCosts(machine)
        self._queues = [RunQueue(cpu, costs, slice_, tick, switch_mm, note_switch) for cpu in machine.cpus]

    def spawn(
        self, cpu: Cpu, body: Callable[[Cpu], Steps[None]], name: str, process: object = None
    ) -> QueuedTask:
        """A new thread on *cpu* that runs *body* whenever it has the cpu.

        The first one of a cpu runs at once, the others queue. When the body has ended the cpu goes to the
        next one; after the last it has been left (`Cpu.leave`).
        """
        return self._queues[cpu.id].spawn(body, name, process)

    def fork(
        self, cpu: Cpu, parent: Cpu, body: Callable[[Cpu], Steps[None]], name: str, process: object
    ) -> QueuedTask:
        """`spawn` by a thread that runs on *parent*, after other threads have been on *cpu*."""
        return self._queues[cpu.id].fork(body, name, process, parent)

    def preempt(self, cpu: Cpu) -> Steps[None]:
        """The thread on *cpu* returns to user mode; if its slice is used up, others that wait run first."""
        queue = self._queues[cpu.id]
        while cpu.now >= queue.slice_ends:
            yield from queue.catch_up()

    def compute(self, cpu: Cpu, time: int, activity: Activity) -> Steps[None]:
        """Compute for *time* ps in user mode, where the tick takes the cpu away when the slice is used up.

        An interrupt's handler that delays the thread at the tick delays the switch. The last piece of work
        stays pending.
        """
        queue = self._queues[cpu.id]
        while True:
            yield from self.preempt(cpu)
            piece = min(time, cpu.work_within(queue.slice_ends - cpu.now))
            cpu.work(piece, activity)
            time -= piece
            if not time:
                return
            yield cpu.take_pending()
