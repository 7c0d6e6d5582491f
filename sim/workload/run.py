"""One run: boot the design on the machine, set up, release the threads, take the accounts.

    main thread   set-up | creates the threads | writes the start flag | joins
    thread i               uses its stack, polls .... sees the flag | request 0 | request 1 | ... | idle
                                                     ^ skewed: its polling loop, its turn at the line

The account of every cpu opens when the flag is written and closes when the last thread is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.engine import Engine, ThreadBody
from sim.engine.units import PAGE_BYTES
from sim.errors import AccountingError
from sim.hardware import Cpu, Machine, MachineSpec
from sim.mm import USER
from sim.workload.boot import boot
from sim.workload.layout import Slots
from sim.workload.pinning import order_of
from sim.workload.steps import run_steps

if TYPE_CHECKING:
    from sim.designs import DesignSpec
    from sim.mm import AddressSpace
    from sim.workload.spec import WorkloadPlan

START = "start"


@dataclass(frozen=True)
class Run:
    """What one run gave, in ps: latencies of the measured requests, time by activity over all cpus."""

    latencies: list[int]
    spent: dict[str, int]
    elapsed: int
    events: int


def run_once(
    machine: MachineSpec,
    design: DesignSpec,
    plan: WorkloadPlan,
    *,
    threads: int,
    seed: int | str,
    max_events: int,
    max_time_ps: int,
) -> Run:
    """Run *plan* once on a machine with *threads* cpus online, its threads pinned as it says.

    Raises `AccountingError` unless the activities of all cpus sum to threads x elapsed, to the picosecond,
    and `ModelError` where the end state breaks a rule.
    """
    engine = Engine(seed=seed, max_events=max_events, max_time_ps=max_time_ps)
    hardware = Machine(engine, machine, threads, order_of(plan.pinning, machine.topology))
    space = boot(hardware, design, plan.memory).new_process(hardware.cpus[0])
    slots = Slots(plan, threads, engine.stream("layout"))

    _set_up(engine, hardware, space, plan, slots)
    started = engine._now
    latencies = _run_threads(engine, hardware, space, plan, slots)
    elapsed = engine._now - started

    spent: dict[str, int] = {}
    for cpu in hardware.cpus:
        cpu.close_account()
        for activity, time in cpu.spent.items():
            spent[activity] = spent.get(activity, 0) + time
    if sum(spent.values()) != threads * elapsed:
        raise AccountingError(f"{sum(spent.values())} ps are accounted for, {threads} x {elapsed} ps passed")
    space.verify(hardware.cpus)
    return Run(latencies, spent, elapsed, engine.events)


def _set_up(engine: Engine, hardware: Machine, space: AddressSpace, plan: WorkloadPlan, slots: Slots) -> None:
    """The main thread on cpu 0: the set-up steps, then one thread after the other up to the start flag."""
    cpu = hardware.cpus[0]
    space.activate(cpu)
    stack = plan.stack.size // PAGE_BYTES
    touched = plan.stack.touched // PAGE_BYTES
    create = hardware.spec.kernel.create_thread.at(hardware.spec.clock)

    def main() -> ThreadBody:
        yield from run_steps(space, cpu, plan.setup, slots, thread=0, request=0)
        for other in hardware.cpus:
            top = (yield from space.mmap(cpu, stack)) + stack
            cpu.work(create, START)
            yield cpu.take_pending()
            if other is cpu:
                yield from use_stack(cpu, top)
            else:
                other.thread = engine.process(use_stack(other, top), f"start of thread {other.id}")

    def use_stack(here: Cpu, top: int) -> ThreadBody:
        space.activate(here)
        for page in range(top - touched, top):
            yield from space.touch(here, page)
        if here.pending:
            yield here.take_pending()

    cpu.thread = engine.process(main(), "main thread")
    engine.run()


def _run_threads(
    engine: Engine, hardware: Machine, space: AddressSpace, plan: WorkloadPlan, slots: Slots
) -> list[int]:
    """All threads from the start flag on; returns the latencies (ps) of the measured requests."""
    flag = hardware.line("start flag", owner=0)
    kernel, clock = hardware.spec.kernel, hardware.spec.clock
    poll, timestamp = kernel.poll.at(clock), kernel.timestamp.at(clock)
    skew = engine.stream("start").random
    latencies: list[int] = []

    def body(cpu: Cpu) -> ThreadBody:
        cpu.stall(int(skew() * poll), START)
        yield from flag.read(cpu, START)
        before = cpu.now
        for request in range(plan.requests):
            yield from run_steps(space, cpu, plan.thread, slots, thread=cpu.id, request=request)
            cpu.work(timestamp, USER)
            now = cpu.now
            if plan.measured.first <= request <= plan.measured.last:
                latencies.append(now - before)
            before = now
        yield from space.deactivate(cpu)
        if cpu.pending:
            yield cpu.take_pending()
        cpu.leave()

    for cpu in hardware.cpus:
        cpu.open_account()
        cpu.thread = engine.process(body(cpu), f"thread {cpu.id}")
    engine.run()
    return latencies
