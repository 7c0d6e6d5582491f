"""One run of a bench: boot the kernel, run each thread's role, keep what was timed, take the accounts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.engine import Engine, ThreadBody
from sim.errors import AccountingError, ModelError
from sim.hardware import Cpu, Machine, MachineSpec
from sim.workload.bench.objects import Objects
from sim.workload.bench.protocol import role_of
from sim.workload.bench.spaces import Spaces
from sim.workload.bench.steps import Record, Stage, sequence
from sim.workload.boot import boot
from sim.workload.pinning import order_of

if TYPE_CHECKING:
    from sim.designs import DesignSpec, Kernel
    from sim.workload.bench.spec import BenchSpec, Role

START = "start"


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
    """The threads of one run."""

    def __init__(self, machine: Machine, kernel: Kernel, spec: BenchSpec, threads: int) -> None:
        self._engine = machine.engine
        self._spec = spec
        self._roles = [_role_of(spec, thread, threads) for thread in range(threads)]
        streams = sum(any(step.stream_dram for step in role.steps) for role in self._roles)
        spaces = Spaces(machine, kernel, spec.spaces) if spec.spaces else None
        self._stage = Stage(machine, kernel, Objects(machine, spec, threads), spaces, streams)
        self._steps = {id(role): sequence(self._stage, role.steps) for role in spec.roles}
        self._timed = any(step.timed for role in self._roles for step in role.steps)

    @property
    def record(self) -> Record:
        return self._stage.record

    def set_up(self) -> int:
        """Prepare the address spaces, if there are any; the time at which the threads start."""
        if self._stage.spaces is not None:
            self._stage.spaces.set_up()
        started, window = self._engine._now, self._spec.window
        if window:
            begin = started + window.warm_up
            self._stage.record = Record(begin, begin + window.length)
        return started

    def verify(self) -> None:
        """Raises `ModelError` where the end state breaks a rule."""
        if self._stage.spaces is not None:
            self._stage.spaces.verify()

    def thread(self, cpu: Cpu) -> ThreadBody:
        """The life of the thread on *cpu*."""
        role, window, record = self._roles[cpu.id], self._spec.window, self.record
        steps = self._steps[id(role)]
        whole = role.measured and not self._timed
        if window:
            cpu.stall(int(self._engine.stream("start").random() * window.skew), START)
        done = 0
        while cpu.now < record.until if record.until is not None else done < self._rounds:
            begun = cpu.now
            yield from steps(cpu)
            if whole:
                record.add(begun, cpu.now, 1)
            done += 1
        if cpu.pending:
            yield cpu.take_pending()
        self._stage.objects.leave(cpu)
        cpu.leave()

    @property
    def _rounds(self) -> int:
        assert self._spec.rounds is not None
        return self._spec.rounds


def _role_of(spec: BenchSpec, thread: int, threads: int) -> Role:
    number = role_of(spec, thread, threads)
    if number is None:
        raise ModelError(f"no role fits thread {thread} of {threads}")
    return spec.roles[number]
