"""One run of a bench: boot the kernel, run each thread's role, keep what was timed, take the accounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from sim.engine import Engine, ThreadBody
from sim.engine.units import LINE_BYTES, PAGE_BYTES, PS_PER_S
from sim.errors import AccountingError, ModelError
from sim.hardware import HUGE_PAGES, Cpu, Machine, MachineSpec
from sim.mm import USER
from sim.workload.bench.locks import BenchLock
from sim.workload.bench.objects import Objects
from sim.workload.bench.spaces import Spaces
from sim.workload.boot import boot
from sim.workload.pinning import order_of

if TYPE_CHECKING:
    from sim.designs import DesignSpec, Kernel
    from sim.workload.bench.spec import BenchSpec, BenchStep, Node, Role

START, DRAM, ASLEEP = "start", "dram", "asleep"


@dataclass
class Record:
    """What the threads measured, in ps. *from_time* and *until* are the window; without one, all counts."""

    from_time: int = 0
    until: int | None = None
    latencies: list[int] = field(default_factory=list)
    operations: int = 0

    def add(self, begun: int, ended: int, per: int) -> None:
        if begun >= self.from_time and (self.until is None or begun < self.until):
            self.latencies.append((ended - begun) // per)
        if self.until is None or self.from_time <= ended < self.until:
            self.operations += per


@dataclass(frozen=True)
class BenchRun:
    """What one run gave; *length* is the time over which the operations are counted."""

    record: Record
    spent: dict[str, int]
    elapsed: int
    length: int
    events: int


def run_bench(
    machine: MachineSpec,
    design: DesignSpec,
    spec: BenchSpec,
    *,
    threads: int,
    seed: int | str,
    max_events: int,
    max_time_ps: int,
) -> BenchRun:
    """Run *spec* once, its threads pinned as it says. Raises `AccountingError` as an ordinary run does."""
    engine = Engine(seed=seed, max_events=max_events, max_time_ps=max_time_ps)
    hardware = Machine(engine, machine, threads, order_of(spec.pinning, machine.topology))
    bench = _Bench(hardware, boot(hardware, design, spec.memory), spec, threads)
    started = bench.set_up()
    for cpu in hardware.cpus:
        cpu.open_account()
        cpu.thread = engine.process(bench.thread(cpu), f"thread {cpu.id}")
    engine.run()

    elapsed, spent = engine._now - started, dict[str, int]()
    for cpu in hardware.cpus:
        cpu.close_account()
        for activity, time in cpu.spent.items():
            spent[activity] = spent.get(activity, 0) + time
    if sum(spent.values()) != threads * elapsed:
        raise AccountingError(f"{sum(spent.values())} ps are accounted for, {threads} x {elapsed} ps passed")
    bench.verify()
    return BenchRun(
        bench.record, spent, elapsed, spec.window.length if spec.window else elapsed, engine.events
    )


class _Bench:
    """The threads of one run and what they share."""

    def __init__(self, machine: Machine, kernel: Kernel, spec: BenchSpec, threads: int) -> None:
        self._machine = machine
        self._kernel = kernel
        self._spec = spec
        self._threads = threads
        self._objects = Objects(machine, spec, threads)
        self._roles = [_role_of(spec, thread, threads) for thread in range(threads)]
        self._streams = sum(any(step.stream_dram for step in role.steps) for role in self._roles)
        self._timed = any(step.timed for role in self._roles for step in role.steps)
        self._held: dict[int, list[int]] = {cpu.id: [] for cpu in machine.cpus}
        self._gaps: Random = machine.engine.stream("memory traffic")
        self._spaces = Spaces(machine, kernel, spec.spaces) if spec.spaces else None
        self.record = Record()

    def set_up(self) -> int:
        """Prepare the address spaces, if there are any; the time at which the threads start."""
        if self._spaces is not None:
            self._spaces.set_up()
        started, window = self._machine.engine._now, self._spec.window
        if window:
            begin = started + window.warm_up
            self.record = Record(begin, begin + window.length)
        return started

    def verify(self) -> None:
        """Raises `ModelError` where the end state breaks a rule."""
        if self._spaces is not None:
            self._spaces.verify()

    def thread(self, cpu: Cpu) -> ThreadBody:
        """The life of the thread on *cpu*."""
        role, window = self._roles[cpu.id], self._spec.window
        whole = role.measured and not self._timed
        if window:
            cpu.stall(int(self._machine.engine.stream("start").random() * window.skew), START)
        done = 0
        while cpu.now < self.record.until if self.record.until is not None else done < self._rounds:
            begun = cpu.now
            yield from self._run(cpu, role.steps)
            if whole:
                self.record.add(begun, cpu.now, 1)
            done += 1
        if cpu.pending:
            yield cpu.take_pending()
        cpu.leave()

    @property
    def _rounds(self) -> int:
        assert self._spec.rounds is not None
        return self._spec.rounds

    def _run(self, cpu: Cpu, steps: Sequence[BenchStep]) -> ThreadBody:
        objects, clock = self._objects, self._machine.spec.clock
        for step in steps:
            if step.timed is not None:
                begun = cpu.now
                yield from self._run(cpu, step.timed)
                self.record.add(begun, cpu.now, step.per or 1)
            elif step.compute is not None:
                cpu.work(step.compute.at(clock), USER)
            elif step.load is not None:
                yield from objects.words[step.load].load(cpu)
            elif step.store is not None:
                yield from objects.words[step.store].store(cpu)
            elif step.add is not None:
                yield from objects.words[step.add].add(cpu)
            elif step.cas_add is not None:
                yield from objects.words[step.cas_add.line].cas_add(cpu, step.cas_add.retry.at(clock))
            elif step.barrier is not None:
                yield from objects.barrier.meet(cpu, step.barrier)
            elif step.read_dram is not None:
                yield from self._read_dram(cpu, step.read_dram, self._node(cpu, step.node or "local"))
            elif step.stream_dram is not None:
                yield from self._stream_dram(cpu, step.stream_dram.bandwidth)
            elif step.clear is not None:
                yield from self._clear(cpu, step.clear.size // PAGE_BYTES, self._node(cpu, step.clear.node))
            elif step.copy_ is not None:
                node, source = self._node(cpu, step.copy_.node), self._node(cpu, step.copy_.source)
                for _ in range(step.copy_.size // PAGE_BYTES):
                    yield from self._machine.memory.copy_page(cpu, node, source=source)
            elif step.touch is not None and self._spaces is not None:
                yield from self._spaces.touch(cpu, step.touch)
            elif step.shootdown is not None and self._spaces is not None:
                yield from self._spaces.shoot_down(cpu, step.shootdown)
            elif step.discard is not None and self._spaces is not None:
                yield from self._spaces.discard(cpu, step.discard.pages)
            elif step.switch_space is not None and self._spaces is not None:
                yield from self._spaces.switch(cpu)
            elif step.allocate is not None:
                held = self._held[cpu.id]
                for _ in range(step.allocate.count):
                    held.append((yield from self._kernel.allocate_pages(cpu, step.allocate.order)))
            elif step.free is not None:
                held = self._held[cpu.id]
                for _ in range(step.free.count):
                    yield from self._kernel.free_pages(cpu, held.pop(0), step.free.order)
            elif step.lock is not None:
                yield from objects.locks[step.lock].lock(cpu)
            elif step.unlock is not None:
                yield from objects.locks[step.unlock].unlock(cpu)
            elif step.read_lock is not None:
                yield from objects.locks[step.read_lock].read_lock(cpu)
            elif step.read_unlock is not None:
                yield from objects.locks[step.read_unlock].read_unlock(cpu)
            elif step.sleep is not None:
                yield from objects.scheduler.nap(cpu, step.sleep, ASLEEP)
            elif step.seq_read is not None:
                yield from self._seq_read(cpu, objects.locks[step.seq_read.lock], step.seq_read.steps)

    def _seq_read(self, cpu: Cpu, lock: BenchLock, steps: Sequence[BenchStep]) -> ThreadBody:
        again = True
        while again:
            sequence = yield from lock.read_begin(cpu)
            yield from self._run(cpu, steps)
            again = yield from lock.read_retry(cpu, sequence)

    def _node(self, cpu: Cpu, node: Node) -> int:
        topology = self._machine.spec.topology
        if node == "remote":
            return (cpu.node + topology.nodes_per_socket) % topology.nodes
        return cpu.node if node == "local" else node

    def _clear(self, cpu: Cpu, pages: int, node: int) -> ThreadBody:
        memory = self._machine.memory
        for _ in range(pages // HUGE_PAGES):
            yield from memory.clear_huge_page(cpu, node)
        for _ in range(pages % HUGE_PAGES):
            yield from memory.clear_page(cpu, node)

    def _read_dram(self, cpu: Cpu, loads: int, node: int) -> ThreadBody:
        for _ in range(loads):
            if cpu.pending:
                yield cpu.take_pending()
            cpu.stall(self._machine.memory.read_line(cpu, node), DRAM)

    def _stream_dram(self, cpu: Cpu, bandwidth: int) -> ThreadBody:
        """One line, and the pause until the next is due. Exponential: delay loops are not in step."""
        gap = LINE_BYTES * PS_PER_S * self._streams / bandwidth
        self._machine.memory.read_line(cpu, cpu.node)
        cpu.stall(max(1, int(self._gaps.expovariate(1) * gap)), USER)
        yield cpu.take_pending()


def _role_of(spec: BenchSpec, thread: int, threads: int) -> Role:
    for role in spec.roles:
        if role.fits(thread, threads):
            return role
    raise ModelError(f"no role fits thread {thread} of {threads}")
