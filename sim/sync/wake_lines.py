"""The cache lines that a wake-up moves between the waker's cpu and the sleeper's.

    waker     pi_lock | state: WAKING | rq: idle? ttwu_pending | wake list | idle thread's flags
    target                                                     flags | wake list | rq lock ... state: RUNNING
    sleeper   state: UNINTERRUPTIBLE | rq lock

A task has two of them: pi_lock with wake_q, and its first two lines, which come in one burst, with usage,
state, on_cpu and on_rq. A cpu has three: its run queue, its list of wake-ups (call_single_queue), and the
flags of its idle thread. All are atomic instructions or stores, one after the other. A thread that has been
woken and has yet to run costs its next waker pi_lock and a look at the state. Where the waker runs on the
sleeper's cpu, nothing moves.

Source: Linux 6.13, kernel/sched/core.c (try_to_wake_up, ttwu_queue_wakelist, sched_ttwu_pending), fair.c
(available_idle_cpu), kernel/smp.c (send_call_function_single_ipi), kernel/sched/idle.c. Simplifications: one
way for all targets (before 5.19 a waker that shares the last-level cache with the target locks its run queue
and puts the thread there itself, about as many lines); the lines are taken where they are when the wake-up
begins, and wait for the access before theirs, but nobody queues for them in an order of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sim.hardware import CacheLine, Cpu, Machine, Task

_PI_LOCK, _STATE, _RUN_QUEUE, _WAKE_LIST, _FLAGS = "pi_lock", "state", "run queue", "wake list", "idle flags"
_WAITER: Final = "waiter"


class WakeLines:
    """These lines on one machine. All methods return what the accesses cost (ps); the caller pays."""

    __slots__ = ("_lines", "_machine")

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._lines = machine.wake_lines

    def sleep(self, cpu: Cpu, task: Task) -> int:
        """*task* says that it sleeps and gives its *cpu* away."""
        return self._take(cpu, cpu.now, self._line(_STATE, task), self._line(_RUN_QUEUE, cpu))

    def look(self, cpu: Cpu) -> int:
        """Somebody on *cpu* asks whether others wait for it."""
        return self._take(cpu, cpu.now, self._line(_RUN_QUEUE, cpu))

    def wake(self, waker: Cpu, task: Task) -> int:
        """The waker's side, up to the flags of the idle thread."""
        target = task.cpu
        of_task = self._line(_PI_LOCK, task), self._line(_STATE, task)
        of_cpu = (self._line(name, target) for name in (_RUN_QUEUE, _WAKE_LIST, _FLAGS))
        return self._take(waker, waker.now, *of_task, *of_cpu)

    def wake_in_vain(self, waker: Cpu, task: Task) -> int:
        """The same for one that has been woken and has yet to run."""
        return self._take(waker, waker.now, self._line(_PI_LOCK, task), self._line(_STATE, task))

    def link(self, cpu: Cpu, behind: Task | None) -> int:
        """The thread on *cpu* is linked behind the last waiter of a list."""
        last = () if behind is None else (self._line(_WAITER, behind),)
        return self._take(cpu, cpu.now, *last, self._line(_WAITER, cpu.current))

    def mark(self, waker: Cpu, task: Task) -> int:
        """A waiter is taken off a list, and its thread noted for a wake-up."""
        lines = (self._line(name, task) for name in (_WAITER, _STATE, _PI_LOCK))
        return self._take(waker, waker.now, *lines)

    def run(self, task: Task, at: int) -> int:
        """The target's side up to its run queue, from time *at* on, when the waker has written the flags."""
        cpu = task.cpu
        return self._take(cpu, at, *(self._line(name, cpu) for name in (_FLAGS, _WAKE_LIST, _RUN_QUEUE)))

    def runs(self, task: Task) -> int:
        """*task* runs again, on its cpu, now; where that has woken it itself, it has the line."""
        cpu, line = task.cpu, self._line(_STATE, task)
        return 0 if line.exclusive_to(cpu) else self._take(cpu, cpu.now, line)

    def _take(self, cpu: Cpu, at: int, *lines: CacheLine) -> int:
        cost = 0
        for line in lines:
            cost += line.take_between(cpu, at + cost)
        return cost

    def _line(self, name: str, of: Cpu | Task) -> CacheLine:
        """The line *name* of a cpu or task, in memory of its socket."""
        line = self._lines.get((name, of))
        if line is None:
            cpu = of if name in (_RUN_QUEUE, _WAKE_LIST, _FLAGS) else of.cpu  # type: ignore[union-attr]
            lines = 2 if name == _STATE else 1
            line = self._machine.line(f"{name} of {of!r}", cpu.socket, owner=cpu.id, lines=lines)  # type: ignore[union-attr]
            self._lines[name, of] = line
        return line
