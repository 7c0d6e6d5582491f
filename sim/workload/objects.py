"""The named objects of a workload on one machine: lines, locks, channels, the barrier."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

from sim.engine import Activity, Steps
from sim.engine.costs import at_clock
from sim.hardware import LINE, CacheLine, Cpu, Machine
from sim.quantities import LINE_BYTES
from sim.sync import Channel, Pipe, Scheduler, Sleeper, StreamSocket
from sim.workload.encounters import Pace, SleepBarrier, SpinBarrier
from sim.workload.locks import NamedLock, Workshop, make_lock
from sim.workload.regions import Regions

if TYPE_CHECKING:
    from sim.workload.plan import WorkloadPlan
    from sim.workload.things_spec import ChannelSpec
    from sim.workload.thread import Worker

BARRIER: Final = Activity("barrier")


class Word:
    """A line with a value that a compare-and-swap can tell has changed, for so many *threads*."""

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

    def turn(self, worker: Worker) -> Steps[None]:
        """Swap *worker* for its successor; a try before it is its turn fails and is repeated at once."""
        while True:
            yield from self.line.write(worker.cpu)
            if self._turn == worker.number:
                break
        self._turn = self._after(worker.number)
        self.version += 1

    def leave(self, worker: Worker) -> None:
        """*worker* ends and takes no more turns; if it is its turn, the next one has it."""
        self._gone.add(worker.number)
        if self._turn == worker.number:
            self._turn = self._after(worker.number)

    def _after(self, thread: int) -> int:
        """Whose turn it is after that of *thread*: the next one's that has not left."""
        ring = ((thread + step) % self._threads for step in range(1, self._threads + 1))
        return next((other for other in ring if other not in self._gone), thread)


class Words:
    """An array with a word for each thread, *apart* bytes from one to the next."""

    __slots__ = ("_words",)

    def __init__(self, machine: Machine, name: str, home: int, apart: int, threads: int) -> None:
        lines = -(-threads * apart // LINE_BYTES)
        there = [machine.line(f"{name} {number}", home, owner=0) for number in range(lines)]
        self._words = [Word(there[thread * apart // LINE_BYTES], 1) for thread in range(threads)]

    def __getitem__(self, thread: int) -> Word:
        return self._words[thread]

    def of(self, worker: Worker) -> Word:
        """The word of *worker*."""
        return self._words[worker.number]


class Channels:
    """The channel *name* of all threads, or one for each so many of them."""

    __slots__ = ("_channels", "_spec")

    def __init__(self, shop: Workshop, name: str, spec: ChannelSpec, threads: int) -> None:
        self._spec = spec
        make = make_pipe if spec.pipe else make_socket if spec.socket else make_channel
        self._channels = [make(shop, name, spec) for _ in range(spec.group(threads - 1) + 1)]

    def of(self, worker: Worker) -> Channel | Pipe | StreamSocket:
        """The channel of *worker*."""
        return self._channels[self._spec.group(worker.number)]

    def close(self, cpu: Cpu) -> Steps[None]:
        """The run is over: nobody waits any more."""
        for channel in self._channels:
            yield from channel.close(cpu)


def make_channel(shop: Workshop, name: str, spec: ChannelSpec) -> Channel:
    return Channel(shop.machine, name, spec.home, shop.nodes, shop.scheduler, spec.tokens, spec.capacity)


def make_pipe(shop: Workshop, name: str, spec: ChannelSpec) -> Pipe:
    assert spec.pipe is not None
    assert spec.capacity is not None
    cost = at_clock(spec.pipe, shop.machine.spec.clock)
    return Pipe(
        shop.machine,
        name,
        spec.home,
        shop.nodes,
        shop.scheduler,
        messages=spec.tokens,
        capacity=spec.capacity,
        code=(cost.write, cost.read) if cost.system_calls else None,
    )


def make_socket(shop: Workshop, name: str, spec: ChannelSpec) -> StreamSocket:
    assert spec.socket is not None
    cost = at_clock(spec.socket, shop.machine.spec.clock)
    machine, nodes, scheduler, code = shop.machine, shop.nodes, shop.scheduler, (cost.write, cost.read)
    return StreamSocket(machine, name, spec.home, nodes, scheduler, messages=spec.tokens, code=code)


class Barrier:
    """All threads that have not ended meet. An instrument of the workload, not of the machine: it is free.

    Where threads share cpus (*scheduler* is given), who waits gives the cpu away, which costs a switch.
    """

    __slots__ = ("_random", "_scheduler", "_threads", "_waiting")

    def __init__(self, threads: int, random: Random, scheduler: Scheduler | None = None) -> None:
        self._threads = threads
        self._random = random
        self._scheduler = scheduler
        self._waiting: list[Sleeper | Cpu] = []

    def describe_wait(self) -> str:
        return f"the barrier ({len(self._waiting)} of {self._threads} are there)"

    def meet(self, cpu: Cpu, skew: int) -> Steps[None]:
        if cpu.pending:
            yield cpu.take_pending()
        if len(self._waiting) + 1 < self._threads:
            if self._scheduler is None:
                self._waiting.append(cpu)
                yield from cpu.park(self, BARRIER)
            else:
                sleeper = Sleeper(cpu, "the barrier")
                self._waiting.append(sleeper)
                yield from self._scheduler.sleep(cpu, sleeper, BARRIER)
            return
        self._open(cpu, skew)
        cpu.stall(int(self._random.random() * skew), BARRIER)
        if cpu.pending:
            yield cpu.take_pending()

    def leave(self, cpu: Cpu) -> None:
        """The thread on *cpu* ends. Those who wait for it alone go on: its window was over before theirs."""
        self._threads -= 1
        if self._waiting and len(self._waiting) == self._threads:
            self._open(cpu, 0)

    def _open(self, cpu: Cpu, skew: int) -> None:
        waiting, self._waiting = self._waiting, []
        for other in waiting:
            if isinstance(other, Sleeper):
                assert self._scheduler is not None
                self._scheduler.wake(cpu, other)
            else:
                other.poke(self, int(self._random.random() * skew))


class Objects:
    """Everything that the steps of *plan* name, and what its locks share."""

    def __init__(self, machine: Machine, plan: WorkloadPlan, threads: int, *, sharing: bool) -> None:
        """For so many *threads*; *sharing*: some of them share a cpu."""
        workshop = self.workshop = Workshop(machine)
        self.regions = Regions(plan.regions, machine.engine.stream("regions")) if plan.regions else None
        self.words: dict[str, Word | Words] = {
            name: Words(machine, name, line.home, line.each_thread, threads)
            if line.each_thread
            else Word(machine.line(name, line.home, owner=0), threads)
            for name, line in plan.lines.items()
        }
        self.locks: dict[str, NamedLock] = {
            name: make_lock(workshop, name, lock) for name, lock in plan.locks.items()
        }
        steps = [step for _, step in plan.all_steps()]
        self.paces: dict[str, Pace] = {
            name: Pace([self._word(name, thread).line for thread in range(threads)], name)
            for name in dict.fromkeys(step.keep_pace for step in steps if step.keep_pace)
        }
        self.barriers: dict[str, SpinBarrier | SleepBarrier] = {
            name: SleepBarrier(workshop, name, plan.lines[name].home, threads)
            if plan.lines[name].asleep
            else SpinBarrier(machine, name, plan.lines[name].home, threads)
            for name in dict.fromkeys(step.meet for step in steps if step.meet)
        }
        self.scheduler: Scheduler = workshop.scheduler
        self.channels: dict[str, Channels] = {
            name: Channels(workshop, name, spec, threads) for name, spec in plan.channels.items()
        }
        waits_asleep = self.scheduler if sharing else None
        self.barrier: Barrier = Barrier(threads, machine.engine.stream("barrier"), waits_asleep)

    def _word(self, name: str, thread: int) -> Word:
        """The word of *thread* in the array *name*."""
        words = self.words[name]
        assert isinstance(words, Words)
        return words[thread]

    def leave(self, worker: Worker, *, over: bool) -> Steps[None]:
        """*worker* ends: nobody waits for it any more; nor for tokens, if the window is *over*."""
        self.barrier.leave(worker.cpu)
        for word in self.words.values():
            if isinstance(word, Word):
                word.leave(worker)
        for pace in self.paces.values():
            pace.leave(worker)
        for barrier in self.barriers.values():
            barrier.leave(worker)
        if over:
            for channels in self.channels.values():
                yield from channels.close(worker.cpu)
