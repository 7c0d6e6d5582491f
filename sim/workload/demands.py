"""Whether a workload can run on a machine and under a design: what neither file can tell alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sim.designs import operations_of, places_memory
from sim.errors import Fault
from sim.mm import FIRST_TOUCH, MAX_ORDER
from sim.mm.policy import Bind
from sim.quantities import PAGE_BYTES, format_duration, format_size
from sim.workload.bench import BenchSpec
from sim.workload.bench.protocol import Track, flaw, placed_steps, role_of
from sim.workload.bench.spec import needs, nodes_named
from sim.workload.layout import crowding, span
from sim.workload.rehearsal import USER_PAGES, rehearse
from sim.workload.window import Requests

if TYPE_CHECKING:
    from sim.designs import DesignSpec
    from sim.hardware import MachineSpec, Topology
    from sim.mm import MemoryPolicy
    from sim.workload.bench.spec import BenchStep, Role
    from sim.workload.pinning import Pinning
    from sim.workload.spec import WorkloadPlan, WorkloadSpec


def misfit(
    machine: MachineSpec, workload: WorkloadSpec | BenchSpec, placement: str, threads: int
) -> Fault | None:
    """Why *threads* threads of *workload* cannot run on *machine*; the fault's key is the workload's."""
    if isinstance(workload, BenchSpec):
        return (
            _nodes(workload, machine)
            or _pinning(workload.pinning, machine, threads)
            or _memory(workload.memory, machine)
            or _instruments(workload, machine)
            or flaw(workload, threads)
            or _room(workload, machine, threads)
            or _duration(workload, machine, threads)
        )
    return _plan_misfit(machine, workload.plan(placement), threads)


def foresee(
    machine: MachineSpec, workload: WorkloadSpec | BenchSpec, placement: str, counts: Sequence[int]
) -> Fault | None:
    """Why *workload* cannot run on *machine* with one of these numbers of threads: `misfit`, and a rehearsal.

    Takes longer than `misfit`: for before a run, not for each point.
    """
    descending = sorted(counts, reverse=True)
    if isinstance(workload, BenchSpec):
        faults = (misfit(machine, workload, placement, threads) for threads in descending)
        return next((fault for fault in faults if fault is not None), None)
    plan = workload.plan(placement)
    faults = (_plan_misfit(machine, plan, threads) for threads in descending)
    return next((fault for fault in faults if fault is not None), None) or _held(plan, machine, descending[0])


def never_works(workload: WorkloadSpec | BenchSpec, placement: str) -> Fault | None:
    """Why *workload* can run on no machine, with no number of threads; the fault's key is the workload's."""
    if isinstance(workload, BenchSpec):  # a fourth thread has the same role as the second
        faults = [flaw(workload, threads) for threads in (3, 2, 1)]
        return faults[0] if all(faults) else None
    plan = workload.plan(placement)
    return crowding(plan, 1) or rehearse(plan, 1).fault


def lacking(design: DesignSpec, workload: WorkloadSpec | BenchSpec) -> list[str]:
    """What *workload* needs and *design* does not offer: operations by name, and `placed memory`."""
    needed = needs(workload) if isinstance(workload, BenchSpec) else workload.operations
    missing = [operation.name for operation in needed - operations_of(design)]
    if not places_memory(design) and any(memory != FIRST_TOUCH for memory in _policies(workload)):
        missing.append("placed memory")
    return sorted(missing)


def _plan_misfit(machine: MachineSpec, plan: WorkloadPlan, threads: int) -> Fault | None:
    return (
        _pinning(plan.pinning, machine, threads)
        or _memory(plan.memory, machine)
        or crowding(plan, threads)
        or _addresses(plan, threads)
    )


def _pinning(pinning: Pinning, machine: MachineSpec, threads: int) -> Fault | None:
    if isinstance(pinning, str):
        return None
    beyond = [cpu for cpu in pinning if cpu >= machine.cpus]
    if beyond:
        message = f"{machine.name} has no such cpu"
        return Fault(message, key="pinning", value=beyond[0], allowed=f"0 to {machine.cpus - 1}")
    if len(pinning) < threads:
        message = f"{len(pinning)} cpus are listed for {threads} threads"
        shown = list(pinning)
        return Fault(message, key="pinning", value=shown, allowed=f"at least {threads} different cpu numbers")
    return None


def _memory(memory: MemoryPolicy, machine: MachineSpec) -> Fault | None:
    nodes = machine.topology.numa_nodes
    if memory == FIRST_TOUCH:
        return None
    if nodes == 1:
        return Fault(
            f"the kernel sees one NUMA node on {machine.name} and cannot choose",
            key="memory",
            value=f"bind {memory.bind}" if isinstance(memory, Bind) else memory,
            allowed=FIRST_TOUCH,
        )
    if isinstance(memory, Bind) and memory.bind >= nodes:
        message = f"{machine.name} has no such NUMA node"
        return Fault(message, key="memory", value=memory.bind, allowed=f"0 to {nodes - 1}")
    return None


def _policies(workload: WorkloadSpec | BenchSpec) -> list[MemoryPolicy]:
    if isinstance(workload, BenchSpec):
        return [workload.memory]
    return [workload.plan(placement).memory for placement in workload.placements]


def _nodes(bench: BenchSpec, machine: MachineSpec) -> Fault | None:
    topology: Topology = machine.topology
    for place, step in _all(bench):
        for node in nodes_named(step):
            if node == "remote" and topology.sockets == 1:
                message = f"works on remote memory, but {machine.name} has one socket"
                return Fault(message, key=place, value=node, allowed="local, or the number of a node")
            if not isinstance(node, str) and node >= topology.nodes:
                message = f"works on a NUMA node that {machine.name} does not have"
                return Fault(message, key=place, value=node, allowed=f"0 to {topology.nodes - 1}")
    homes = {f"lines.{name}.home": line.home for name, line in bench.lines.items()}
    homes |= {f"locks.{name}.home": lock.home for name, lock in bench.locks.items()}
    for key, home in homes.items():
        if home >= topology.sockets:
            allowed = f"0 to {topology.sockets - 1}"
            return Fault(f"{machine.name} has no such socket", key=key, value=home, allowed=allowed)
    return None


def _instruments(bench: BenchSpec, machine: MachineSpec) -> Fault | None:
    """Steps that ask for what the machine's file does not describe."""
    for place, step in _all(bench):
        if (step.read_dram or step.stream_dram) and machine.memory.dram is None:
            message = f"the file of {machine.name} does not describe its DRAM channels (memory.dram)"
            return Fault(message, key=f"{place}.{step.kind}", allowed="a machine whose file does")
    return None


def _room(bench: BenchSpec, machine: MachineSpec, threads: int) -> Fault | None:
    """Regions that do not fit into the address space, and blocks of pages that are more than there is."""
    if bench.spaces and threads * bench.spaces.pages * bench.spaces.apart > USER_PAGES * PAGE_BYTES:
        message = f"the regions of {threads} threads do not fit into the 128 TiB of user addresses"
        return Fault(message, key="spaces.pages", value=bench.spaces.pages, allowed="fewer, or less apart")
    frames = _frames(machine, bench.memory)
    for number in _used(bench, threads):
        track = Track(bench, number)
        kept = sum(1 << order for order in track.blocks) * ((bench.rounds or 1) - 1)
        if track.most + kept > frames:
            message = f"a thread takes {format_size((track.most + kept) * PAGE_BYTES)} without giving it back"
            room = f"at most {format_size(frames * PAGE_BYTES)} on {machine.name}"
            return Fault(message, key=f"roles[{number}].steps", allowed=room)
    return None


def _used(bench: BenchSpec, threads: int) -> list[int]:
    """The numbers of the roles that some thread takes."""
    taken = {role_of(bench, thread, threads) for thread in range(threads)}
    return sorted(number for number in taken if number is not None)


def _duration(bench: BenchSpec, machine: MachineSpec, threads: int) -> Fault | None:
    """Steps that take no time at all, which would never end, and windows that end before anything is done."""
    clock, window = machine.clock, bench.window
    used = _used(bench, threads)
    for number in used:
        steps = [step for _, step in placed_steps(bench.roles[number].steps, "")]
        waits = threads > 1 and any(step.barrier is not None for step in steps)
        if not waits and not any(_takes_time(step, clock) for step in steps):
            place = f"roles[{number}].steps"
            return Fault("take no time: a run would never end", key=place, allowed="a step that takes time")
    if window is None or isinstance(window.length, Requests) or isinstance(window.warm_up, Requests):
        return None
    end = window.warm_up + window.length
    spans = {number: _at_least(bench.roles[number], clock) for number in used if bench.roles[number].measured}
    if spans and min(spans.values()) >= end and window.warm_up >= window.skew:
        message = (
            f"nothing can be measured: a repetition takes {format_duration(min(spans.values()))} or more"
        )
        shown, needed = format_duration(window.length), format_duration(min(spans.values()))
        return Fault(message, key="window.length", value=shown, allowed=f"more than {needed} in all")
    return None


def _takes_time(step: BenchStep, clock: int) -> bool:
    if step.compute is not None:
        return step.compute.at(clock) > 0
    return bool(step.sleep) or not (
        step.sleep is not None or step.barrier is not None or step.timed or step.seq_read
    )


def _at_least(role: Role, clock: int) -> int:
    """Ps that a repetition takes whatever the machine does: its own work and its sleep."""
    steps = [step for _, step in placed_steps(role.steps, "")]
    return sum((step.compute.at(clock) if step.compute else 0) + (step.sleep or 0) for step in steps)


def _all(bench: BenchSpec) -> Iterator[tuple[str, BenchStep]]:
    for number, role in enumerate(bench.roles):
        yield from placed_steps(role.steps, f"roles[{number}].steps")


def _addresses(plan: WorkloadPlan, threads: int) -> Fault | None:
    end = (plan.layout.base or 0) // PAGE_BYTES + span(plan, threads)
    if end <= USER_PAGES:
        return None
    message = f"the windows of {threads} threads do not fit into the 128 TiB of user addresses"
    return Fault(message, key="layout.stride", value=format_size(plan.layout.stride), allowed="less")


def _held(plan: WorkloadPlan, machine: MachineSpec, threads: int) -> Fault | None:
    """Steps that touch what is not mapped, and memory that is too small for what is held at the end."""
    alone = rehearse(plan, 1)
    if alone.fault is not None or alone.held is None:
        return alone.fault
    held, mapped = alone.held, alone.mapped
    if threads > 1 and not alone.shared and (pair := rehearse(plan, 2)).held is not None:
        held += (threads - 1) * (pair.held - alone.held)
        mapped += (threads - 1) * (pair.mapped - alone.mapped)
    frames = _frames(machine, plan.memory)
    if max(held, alone.most) > frames:
        message = (
            f"{threads} threads hold {format_size(held * PAGE_BYTES)}"
            if held > frames
            else f"a thread holds {format_size(alone.most * PAGE_BYTES)} at once"
        )
        room = f"at most {format_size(frames * PAGE_BYTES)} in all on {machine.name}"
        return Fault(message, key="layout.request", value=format_size(plan.layout.request), allowed=room)
    if mapped > USER_PAGES:
        message = f"{threads} threads map {format_size(mapped * PAGE_BYTES)} of 128 TiB of user addresses"
        return Fault(message, key="layout.request", value=format_size(plan.layout.request), allowed="less")
    return None


def _frames(machine: MachineSpec, memory: MemoryPolicy) -> int:
    """How many pages the kernel can give out: whole blocks of each node that *memory* may use."""
    nodes, sockets = machine.topology.numa_nodes, machine.topology.sockets
    block = 1 << MAX_ORDER
    of_node = machine.memory.size_per_socket * sockets // nodes // PAGE_BYTES // block * block
    return of_node if isinstance(memory, Bind) else of_node * nodes
