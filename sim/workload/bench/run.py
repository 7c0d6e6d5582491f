"""One run of a bench: boot the kernel, run each thread's role, keep what was timed, take the accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine import QUIET, Engine, Probe, Schedule, ScheduleName, Steps
from sim.errors import ModelError
from sim.hardware import Cpu, Machine, MachineSpec
from sim.mm import Reference
from sim.workload.bench.objects import Objects
from sim.workload.bench.protocol import role_of
from sim.workload.bench.spaces import Spaces
from sim.workload.bench.steps import Stage, sequence
from sim.workload.boot import boot
from sim.workload.pinning import order_of
from sim.workload.result import Run, balanced, whole
from sim.workload.window import Meter

if TYPE_CHECKING:
    from sim.designs import DesignSpec, Kernel
    from sim.workload.bench.spec import BenchSpec, Role

START = "start"


def run_bench(
    machine: MachineSpec,
    design: DesignSpec,
    spec: BenchSpec,
    *,
    threads: int,
    seed: int | str,
    schedule: Schedule | ScheduleName = "fifo",
    max_events: int,
    max_time_ps: int,
    probe: Probe = QUIET,
) -> Run:
    """Run *spec* once, its threads pinned as it says. Raises `AccountingError` as an ordinary run does."""
    engine = Engine(seed=seed, schedule=schedule, max_events=max_events, max_time_ps=max_time_ps, probe=probe)
    hardware = Machine(engine, machine, threads, order_of(spec.pinning, machine.topology))
    bench = _Bench(hardware, boot(hardware, design, spec.memory), spec, threads)
    bench.set_up()
    started = engine._now
    for cpu in hardware.cpus:
        cpu.open_account()
    probe.run_begins(hardware.cpus)
    bench.begin()
    for cpu in hardware.cpus:
        cpu.thread = engine.process(bench.thread(cpu), f"thread {cpu.id}")
    engine.run()

    elapsed = engine._now - started
    for cpu in hardware.cpus:
        cpu.close_account()
    probe.run_ends()
    bench.verify()
    return balanced(bench.result(elapsed, engine.events))


class _Bench:
    """The threads of one run."""

    def __init__(self, machine: Machine, kernel: Kernel, spec: BenchSpec, threads: int) -> None:
        self._engine = machine.engine
        self._spec = spec
        self._roles = [_role_of(spec, thread, threads) for thread in range(threads)]
        streams = sum(any(step.stream_dram for step in role.steps) for role in self._roles)
        spaces = Spaces(machine, kernel, spec.spaces) if spec.spaces else None
        counted = spec.window is not None and spec.window.counted
        self._stage = Stage(machine, kernel, Objects(machine, spec, threads), spaces, streams, counted)
        self._steps = {id(role): sequence(self._stage, role.steps) for role in spec.roles}
        self._timed = any(_has_timed(role) for role in self._roles)
        self._measured = [
            cpu
            for cpu, role in zip(machine.cpus, self._roles, strict=True)
            if role.measured and (_has_timed(role) or not self._timed)
        ]

    def set_up(self) -> None:
        """Prepare the address spaces, if there are any; takes simulated time."""
        if self._stage.spaces is not None:
            self._stage.spaces.set_up()

    def begin(self) -> None:
        """The run starts now, and with it the warm-up of its window."""
        if self._spec.window:
            cpus = self._stage.machine.cpus
            self._stage.record = Meter(self._engine, self._spec.window, cpus, len(self._measured))

    def verify(self) -> None:
        """Raises `BrokenInvariant` where the end state breaks a rule."""
        stage = self._stage
        held = [
            Reference(frame, "a block of thread", cpu.id)
            for cpu, frames in stage.held.items()
            for frame in frames
        ]
        stage.kernel.verify(stage.spaces.loaded() if stage.spaces else {}, held)

    def result(self, elapsed: int, events: int) -> Run:
        """What the run gave, after the accounts have been closed."""
        record, measured = self._stage.record, self._measured
        if isinstance(record, Meter):
            span, spent = record.length, record.spent(measured)
        else:
            span, spent = elapsed, whole(measured)
        return Run(record.operations, record.latencies, len(measured), span, spent, elapsed, events)

    def thread(self, cpu: Cpu) -> Steps[None]:
        """The life of the thread on *cpu*."""
        role, record = self._roles[cpu.id], self._stage.record
        steps = self._steps[id(role)]
        counts = role.measured and not self._timed
        meter = record if isinstance(record, Meter) else None
        if self._spec.window:
            cpu.stall(int(self._engine.stream("start").random() * self._spec.window.skew), START)
        done = 0
        while not meter.over(cpu.now) if meter is not None else done < self._rounds:
            begun = cpu.now
            yield from steps(cpu)
            if counts:
                if self._stage.counted and cpu.pending:
                    yield cpu.take_pending()
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


def _has_timed(role: Role) -> bool:
    return any(step.timed for step in role.steps)


def _role_of(spec: BenchSpec, thread: int, threads: int) -> Role:
    number = role_of(spec, thread, threads)
    if number is None:
        raise ModelError(f"no role fits thread {thread} of {threads}")
    return spec.roles[number]
