"""Threads that wait for each other in user mode: a barrier of all, and neighbours that keep pace.

They spin, but for a barrier at which they sleep.

What a spinner looks at is a real line: it has a copy, which the write that ends its wait takes away, and
fetches it again. Who waits for a thread that has ended, ends as well: the run is over for both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sim.engine import Activity, Steps
from sim.hardware import LINE, CacheLine, Cpu, Machine
from sim.sync import PthreadBarrier
from sim.sync.spin import spin_on
from sim.workload.thread import ThreadEnds

if TYPE_CHECKING:
    from sim.workload.locks import Workshop
    from sim.workload.thread import Worker

SPIN: Final = Activity("user: spin")


class _Waits:
    """What a spinner waits for, as `spin_on` knows it."""

    __slots__ = ("_what", "activity")

    def __init__(self, what: str) -> None:
        self._what = what
        self.activity = SPIN

    def describe_wait(self) -> str:
        return self._what


class SpinBarrier:
    """A central barrier (sv6 9271b3f, bin/mapbench.cc, gbarrier): two words, each on a line of its own.

    each thread   load round | left - 1, atomic |  not 0: load round until it is another one
    the last one             |                  |  store left, store round
    """

    __slots__ = ("_broken", "_left", "_left_line", "_round", "_round_line", "_threads", "_waiting", "_what")

    def __init__(self, machine: Machine, name: str, home: int, threads: int) -> None:
        self._left_line = machine.line(name, home, owner=0)
        self._round_line = machine.line(f"{name}: round", home, owner=0)
        self._threads = threads
        self._left = threads
        self._round = 0
        self._waiting: list[Cpu] = []
        self._broken = False
        self._what = _Waits(f"all threads to meet at {name}")

    def meet(self, worker: Worker) -> Steps[None]:
        """Raises `ThreadEnds` where somebody has ended and will not come."""
        cpu = worker.cpu
        yield from self._round_line.read(cpu, LINE)
        seen = self._round
        yield from self._left_line.write(cpu, LINE)
        self._left -= 1
        if not self._left:
            yield from self._left_line.store(cpu, LINE)
            self._left = self._threads
            yield from self._round_line.store(cpu, LINE)
            self._round += 1
            self._let_go(cpu.pending)
            return
        self._waiting.append(cpu)
        yield from spin_on(
            self._round_line, cpu, self._what, lambda: self._round == seen and not self._broken
        )
        if self._round == seen:
            raise ThreadEnds

    def leave(self, worker: Worker) -> None:
        """*worker* ends and meets nobody any more."""
        self._broken = True
        self._let_go(0)

    def _let_go(self, delay: int) -> None:
        waiting, self._waiting = self._waiting, []
        for cpu in waiting:
            cpu.poke(self._what, delay)


class SleepBarrier:
    """A barrier of POSIX threads, at which they sleep."""

    __slots__ = ("_barrier",)

    def __init__(self, workshop: Workshop, name: str, home: int, threads: int) -> None:
        line = workshop.machine.line(name, home, owner=0)
        self._barrier = PthreadBarrier(
            workshop.machine, workshop.nodes, line, workshop.scheduler, threads, LINE
        )

    def meet(self, worker: Worker) -> Steps[None]:
        """Raises `ThreadEnds` where somebody has ended and will not come."""
        all_there = yield from self._barrier.wait(worker.cpu)
        if not all_there:
            raise ThreadEnds

    def leave(self, worker: Worker) -> None:
        """*worker* ends and meets nobody any more."""
        self._barrier.abandon(worker.cpu)


class Pace:
    """A word for each thread, which counts its rounds, *apart* bytes from one to the next. Each thread waits
    for the next one, the last for the first."""

    __slots__ = ("_ended", "_lines", "_rounds", "_waiting", "_what")

    def __init__(self, lines: list[CacheLine], name: str) -> None:
        """*lines* has the line of each thread's word."""
        self._lines = lines
        self._rounds = [0] * len(lines)
        self._ended = [False] * len(lines)
        self._waiting: dict[int, Cpu] = {}
        self._what = _Waits(f"the next thread to keep pace at {name}")

    def keep(self, worker: Worker) -> Steps[None]:
        """One round more; wait until the next thread is as far. Raises `ThreadEnds` where that has ended."""
        cpu, own = worker.cpu, worker.number
        yield from self._lines[own].write(cpu, LINE)
        self._rounds[own] += 1
        self._tell(own, cpu.pending)
        next_ = (own + 1) % len(self._lines)
        self._waiting[next_] = cpu
        yield from spin_on(self._lines[next_], cpu, self._what, self._behind(next_, self._rounds[own]))
        if self._rounds[next_] < self._rounds[own]:
            raise ThreadEnds

    def leave(self, worker: Worker) -> None:
        """*worker* ends and goes no further."""
        self._ended[worker.number] = True
        self._tell(worker.number, 0)

    def _behind(self, thread: int, round_: int) -> Callable[[], bool]:
        return lambda: self._rounds[thread] < round_ and not self._ended[thread]

    def _tell(self, thread: int, delay: int) -> None:
        """Who waits for *thread* looks again."""
        if (cpu := self._waiting.get(thread)) is not None:
            cpu.poke(self._what, delay)
