"""One run: boot the design on the machine, set up, release the threads, take the accounts.

    main thread   set-up | creates the threads | writes the start flag | joins
    thread i               uses its stack, polls .... sees the flag | request 0 | request 1 | ... | idle
                                                     ^ skewed: its polling loop, its turn at the line

The account of every cpu opens when the flag is written and closes when the last thread is done. A thread does
so many requests, or goes on until the window of the run is over (see `window`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine import QUIET, Engine, Probe, Schedule, ScheduleName, Steps
from sim.engine.costs import at_clock
from sim.engine.units import PAGE_BYTES
from sim.hardware import Cpu, Machine, MachineSpec
from sim.mm import USER, Mmap
from sim.workload.boot import boot
from sim.workload.layout import Slots
from sim.workload.pinning import order_of
from sim.workload.result import Run, balanced, whole
from sim.workload.steps import Worker
from sim.workload.window import Meter

if TYPE_CHECKING:
    from sim.designs import DesignSpec
    from sim.mm import AddressSpace
    from sim.workload.spec import WorkloadPlan

START = "start"


def run_once(
    machine: MachineSpec,
    design: DesignSpec,
    plan: WorkloadPlan,
    *,
    threads: int,
    seed: int | str,
    schedule: Schedule | ScheduleName = "fifo",
    max_events: int,
    max_time_ps: int,
    probe: Probe = QUIET,
) -> Run:
    """Run *plan* once on a machine with *threads* cpus online, its threads pinned as it says.

    Raises `AccountingError` unless the activities of all cpus sum to threads x elapsed, to the picosecond,
    and `ModelError` where the end state breaks a rule.
    """
    engine = Engine(seed=seed, schedule=schedule, max_events=max_events, max_time_ps=max_time_ps, probe=probe)
    hardware = Machine(engine, machine, threads, order_of(plan.pinning, machine.topology))
    space = boot(hardware, design, plan.memory).new_process(hardware.cpus[0])
    slots = Slots(plan, threads, engine.stream("layout"))

    _set_up(engine, hardware, space, plan, slots)
    started = engine._now
    release = _Release(engine, hardware, space, plan, slots)
    release.run()
    elapsed = engine._now - started
    for cpu in hardware.cpus:
        cpu.close_account()
    probe.run_ends()
    result = balanced(release.result(elapsed))
    space.verify(hardware.cpus)
    return result


def _set_up(engine: Engine, hardware: Machine, space: AddressSpace, plan: WorkloadPlan, slots: Slots) -> None:
    """The main thread on cpu 0: the set-up steps, then one thread after the other up to the start flag."""
    cpu = hardware.cpus[0]
    space.activate(cpu)
    stack = plan.stack.size // PAGE_BYTES
    touched = plan.stack.touched // PAGE_BYTES
    create = at_clock(hardware.spec.kernel, hardware.spec.clock).create_thread

    def main() -> Steps[None]:
        yield from Worker(space, cpu, slots, thread=0).run(plan.setup)
        for other in hardware.cpus:
            top = (yield from space.perform(cpu, Mmap(stack))) + stack
            cpu.work(create, START)
            yield cpu.take_pending()
            if other is cpu:
                yield from use_stack(cpu, top)
            else:
                other.thread = engine.process(use_stack(other, top), f"start of thread {other.id}")

    def use_stack(here: Cpu, top: int) -> Steps[None]:
        space.activate(here)
        for page in range(top - touched, top):
            yield from space.access(here, page)
        if here.pending:
            yield here.take_pending()

    cpu.thread = engine.process(main(), "main thread")
    engine.run()


class _Release:
    """All threads from the start flag on, and what is measured of them."""

    def __init__(
        self, engine: Engine, hardware: Machine, space: AddressSpace, plan: WorkloadPlan, slots: Slots
    ) -> None:
        self._engine = engine
        self._cpus = hardware.cpus
        self._space = space
        self._plan = plan
        self._slots = slots
        self._flag = hardware.line("start flag", owner=0)
        kernel = at_clock(hardware.spec.kernel, hardware.spec.clock)
        self._poll, self._timestamp = kernel.poll, kernel.timestamp
        self._skew = engine.stream("start").random
        self._latencies: list[int] = []
        self._meter: Meter | None = None

    def run(self) -> None:
        """Release the threads and let all of them end."""
        for cpu in self._cpus:
            cpu.open_account()
        self._engine.probe.run_begins(self._cpus)
        if self._plan.window:
            self._meter = Meter(self._engine, self._plan.window, self._cpus, len(self._cpus))
        for cpu in self._cpus:
            cpu.thread = self._engine.process(self._thread(cpu), f"thread {cpu.id}")
        self._engine.run()

    def result(self, elapsed: int) -> Run:
        """What the run gave, after the accounts have been closed."""
        threads, events, meter = len(self._cpus), self._engine.events, self._meter
        if meter is not None:
            spent = meter.spent(self._cpus)
            return Run(meter.operations, meter.latencies, threads, meter.length, spent, elapsed, events)
        operations = threads * self._plan.requests
        return Run(operations, self._latencies, threads, elapsed, whole(self._cpus), elapsed, events)

    def _thread(self, cpu: Cpu) -> Steps[None]:
        """The life of the thread on *cpu*."""
        cpu.stall(int(self._skew() * self._poll), START)
        yield from self._flag.read(cpu, START)
        worker = Worker(self._space, cpu, self._slots, cpu.id)
        yield from (
            self._requests(cpu, worker) if self._meter is None else self._steady(cpu, worker, self._meter)
        )
        yield from self._space.deactivate(cpu)
        if cpu.pending:
            yield cpu.take_pending()
        cpu.leave()

    def _requests(self, cpu: Cpu, worker: Worker) -> Steps[None]:
        """So many requests."""
        plan, measured = self._plan, self._plan.measured
        assert measured is not None
        before = cpu.now
        for request in range(plan.requests):
            worker.request = request
            yield from worker.run(plan.thread)
            cpu.work(self._timestamp, USER)
            now = cpu.now
            if measured.first <= request <= measured.last:
                self._latencies.append(now - before)
            before = now

    def _steady(self, cpu: Cpu, worker: Worker, meter: Meter) -> Steps[None]:
        """Requests, one round of slots after the other, until the window is over."""
        plan = self._plan
        while True:
            for request in range(plan.requests):
                if meter.over(cpu.now):
                    return
                before = cpu.now
                worker.request = request
                yield from worker.run(plan.thread)
                cpu.work(self._timestamp, USER)
                yield cpu.take_pending()
                meter.add(before, cpu.now, 1)
            yield from worker.run(plan.refill)
            worker.mapped.clear()
