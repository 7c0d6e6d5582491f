"""The named objects of a bench on one machine: lines, locks, the barrier."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from sim.engine import Steps
from sim.hardware import LINE, CacheLine, Cpu, Machine
from sim.quantities import LINE_BYTES
from sim.sync import Scheduler
from sim.workload.bench.locks import BenchLock, Workshop, make_lock

if TYPE_CHECKING:
    from sim.workload.bench.spec import BenchSpec

BARRIER = "barrier"


class Word:
    """A line with a value that a compare-and-swap can tell has changed."""

    __slots__ = ("_gone", "_threads", "_turn", "line", "version")

    def __init__(self, line: CacheLine, threads: int) -> None:
        self.line = line
        self.version = 0
        self._threads = threads
        self._turn = 0
        self._gone: set[int] = set()

    def load(self, cpu: Cpu) -> Steps[None]:
        yield from self.line.read(cpu)

    def store(self, cpu: Cpu) -> Steps[None]:
        yield from self.line.store(cpu)
        self.version += 1

    def add(self, cpu: Cpu) -> Steps[None]:
        yield from self.line.write(cpu)
        self.version += 1

    def cas_add(self, cpu: Cpu, retry: int) -> Steps[None]:
        """A failed compare-and-swap gives the value that it found: the next one follows *retry* ps later."""
        yield from self.line.read(cpu)
        expected = self.version
        while True:
            yield from self.line.write(cpu)
            if self.version == expected:
                break
            expected = self.version
            cpu.work(retry, LINE)
        self.version += 1

    def turn(self, cpu: Cpu) -> Steps[None]:
        """Swap cpu for its successor; a try before it is *cpu*'s turn fails and is repeated at once."""
        while True:
            yield from self.line.write(cpu)
            if self._turn == cpu.id:
                break
        self._turn = self._after(cpu.id)
        self.version += 1

    def leave(self, cpu: Cpu) -> None:
        """The thread on *cpu* ends and takes no more turns; if it is its turn, the next one has it."""
        self._gone.add(cpu.id)
        if self._turn == cpu.id:
            self._turn = self._after(cpu.id)

    def _after(self, thread: int) -> int:
        """Whose turn it is after that of *thread*: the next one's that has not left."""
        ring = ((thread + step) % self._threads for step in range(1, self._threads + 1))
        return next((other for other in ring if other not in self._gone), thread)


class Words:
    """An array with a word for each thread, *apart* bytes from one to the next."""

    __slots__ = ("_words",)

    def __init__(self, machine: Machine, name: str, home: int, apart: int) -> None:
        lines = -(-len(machine.cpus) * apart // LINE_BYTES)
        there = [machine.line(f"{name} {number}", home, owner=0) for number in range(lines)]
        self._words = [Word(there[cpu.id * apart // LINE_BYTES], 1) for cpu in machine.cpus]

    def load(self, cpu: Cpu) -> Steps[None]:
        return self._words[cpu.id].load(cpu)

    def store(self, cpu: Cpu) -> Steps[None]:
        return self._words[cpu.id].store(cpu)

    def add(self, cpu: Cpu) -> Steps[None]:
        return self._words[cpu.id].add(cpu)

    def cas_add(self, cpu: Cpu, retry: int) -> Steps[None]:
        return self._words[cpu.id].cas_add(cpu, retry)


class Barrier:
    """All threads that have not ended meet. An instrument of the bench, not of the machine: it is free."""

    __slots__ = ("_random", "_threads", "_waiting")

    def __init__(self, threads: int, random: Random) -> None:
        self._threads = threads
        self._random = random
        self._waiting: list[Cpu] = []

    def describe_wait(self) -> str:
        return f"the barrier ({len(self._waiting)} of {self._threads} are there)"

    def meet(self, cpu: Cpu, skew: int) -> Steps[None]:
        if cpu.pending:
            yield cpu.take_pending()
        if len(self._waiting) + 1 < self._threads:
            self._waiting.append(cpu)
            yield from cpu.park(self, BARRIER)
            return
        self._open(skew)
        cpu.stall(int(self._random.random() * skew), BARRIER)
        if cpu.pending:
            yield cpu.take_pending()

    def leave(self) -> None:
        """A thread ends. Those who wait for it alone go on: its window was over before theirs."""
        self._threads -= 1
        if self._waiting and len(self._waiting) == self._threads:
            self._open(0)

    def _open(self, skew: int) -> None:
        waiting, self._waiting = self._waiting, []
        for other in waiting:
            other.poke(self, int(self._random.random() * skew))


class Objects:
    """Everything that the steps of *spec* name."""

    def __init__(self, machine: Machine, spec: BenchSpec, threads: int) -> None:
        workshop = Workshop(machine)
        self.words: dict[str, Word | Words] = {
            name: Words(machine, name, line.home, line.each_thread)
            if line.each_thread
            else Word(machine.line(name, line.home, owner=0), threads)
            for name, line in spec.lines.items()
        }
        self.locks: dict[str, BenchLock] = {
            name: make_lock(workshop, name, lock) for name, lock in spec.locks.items()
        }
        self.scheduler: Scheduler = workshop.scheduler
        self.barrier: Barrier = Barrier(threads, machine.engine.stream("barrier"))

    def leave(self, cpu: Cpu) -> None:
        """The thread on *cpu* ends: nobody waits for it any more."""
        self.barrier.leave()
        for word in self.words.values():
            if isinstance(word, Word):
                word.leave(cpu)
