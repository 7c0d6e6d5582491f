"""Whether a workload can run on a machine and under a design: what neither file can tell alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim.designs import operations_of, places_memory
from sim.errors import Fault
from sim.mm import FIRST_TOUCH, MAX_ORDER, USER_PAGES, Mmap, Munmap
from sim.mm.policy_spec import Bind
from sim.quantities import PAGE_BYTES, format_duration, format_size
from sim.workload.draws import CountDraw, TimeDraw, bounds_of
from sim.workload.layout import crowding, span
from sim.workload.pinning import order_of
from sim.workload.processes import homes, members
from sim.workload.protocol import Track, flaw, most_children
from sim.workload.rehearsal import MAX_STEPS, rehearse
from sim.workload.roles import roles_of, seats_of
from sim.workload.step_spec import nodes_named, placed_steps
from sim.workload.window import Requests

if TYPE_CHECKING:
    from sim.designs import DesignSpec
    from sim.hardware import MachineSpec, Topology
    from sim.mm import MemoryPolicy
    from sim.workload.pinning import Pinning
    from sim.workload.plan import Part, WorkloadPlan
    from sim.workload.spec import WorkloadSpec
    from sim.workload.step_spec import Step


def misfit(machine: MachineSpec, workload: WorkloadSpec, placement: str, threads: int) -> Fault | None:
    """Why *threads* threads of *workload* cannot run on *machine*; the fault's key is the workload's."""
    plan = workload.plan(placement)
    return _misfit(machine.with_memory(plan.memory_size), plan, threads)


def foresee(
    machine: MachineSpec, workload: WorkloadSpec, placement: str, counts: Sequence[int], swap_pages: int = 0
) -> Fault | None:
    """Why *workload* cannot run on *machine* with one of these numbers of threads: `misfit`, and a rehearsal.

    *swap_pages* are those that the design has room for beside the memory. Takes longer than `misfit`: for
    before a run, not for each point.
    """
    descending, plan = sorted(counts, reverse=True), workload.plan(placement)
    machine = machine.with_memory(plan.memory_size)
    faults = (_misfit(machine, plan, threads) for threads in descending)
    return next((fault for fault in faults if fault is not None), None) or _held(
        plan, machine, descending[0], swap_pages
    )


def never_works(workload: WorkloadSpec, placement: str) -> Fault | None:
    """Why *workload* can run on no machine, with no number of threads; the fault's key is the workload's."""
    plan = workload.plan(placement)
    enough = 3 + sum(
        part.role.count or part.role.last or 0 for part in plan.parts
    )  # one more has a role that others have
    beside = plan.threads_beside
    counts = [beside + tasks * plan.threads_per_task for tasks in (enough, *range(min(enough - 1, 3), 0, -1))]
    faults = [flaw(plan, threads) for threads in counts]
    if all(faults):
        return faults[0]
    if (crowded := crowding(plan, 1)) is not None:
        return crowded
    working = next(threads for threads, fault in zip(counts, faults, strict=True) if fault is None)
    return next(
        (fault for thread in _firsts(plan, working) if (fault := _alone(plan, working, thread))), None
    )


def lacking(design: DesignSpec, workload: WorkloadSpec) -> list[str]:
    """What *workload* needs and *design* does not offer: operations by name, `placed memory`, and `mmap at a
    given address`, which unmaps what is there."""
    offered = operations_of(design)
    missing = [operation.name for operation in workload.operations - offered]
    plans = [workload.plan(placement) for placement in workload.placements or [""]]
    placed = any(plan.layout and plan.layout.base for plan in plans)
    if placed and Mmap in offered and Munmap not in offered:
        missing.append("mmap at a given address")
    if not places_memory(design) and any(plan.memory != FIRST_TOUCH for plan in plans):
        missing.append("placed memory")
    return sorted(missing)


def _misfit(machine: MachineSpec, plan: WorkloadPlan, threads: int) -> Fault | None:
    return (
        _nodes(plan, machine)
        or _pinning(plan, machine, threads)
        or _memory(plan.memory, machine)
        or _instruments(plan, machine, threads)
        or flaw(plan, threads)
        or _places(plan, threads)
        or _blocks(plan, machine, threads)
        or _duration(plan, machine, threads)
        or _sharing(plan, machine, threads)
    )


# -- cpus and nodes -----------------------------------------------------------------------------------------


def _pinning(plan: WorkloadPlan, machine: MachineSpec, threads: int) -> Fault | None:
    """Cpus that there are not, or too few of them."""
    lists: dict[str, Pinning] = {"pinning": plan.pinning}
    lists |= {f"{part.key}.pinning": part.role.pinning for part in plan.parts if part.role.pinning}
    for key, cpus in lists.items():
        beyond = [cpu for cpu in cpus if cpu >= machine.cpus] if isinstance(cpus, tuple) else []
        if beyond:
            message = f"{machine.name} has no such cpu"
            return Fault(message, key=key, value=beyond[0], allowed=f"0 to {machine.cpus - 1}")
    if isinstance(plan.cpus, int) and plan.cpus > machine.cpus:
        message = f"{machine.name} has fewer cpus"
        return Fault(message, key="cpus", value=plan.cpus, allowed=f"1 to {machine.cpus}, or all")
    roles = [number for number in roles_of(plan, threads) if number is not None]
    reserved = {cpu for number in set(roles) for cpu in plan.parts[number].role.pinning or ()}
    free = len([cpu for cpu in order_of(plan.pinning, machine.topology) if cpu not in reserved])
    for number, count in Counter(roles).items():
        own = plan.parts[number].role.pinning
        if own is not None and plan.cpus is None and count > len(own):
            message = f"{len(own)} cpus are listed for {count} threads"
            allowed = f"at least {count} different cpu numbers"
            return Fault(message, key=f"roles[{number}].pinning", value=list(own), allowed=allowed)
    others = sum(plan.parts[number].role.pinning is None for number in roles)
    if others > free and (plan.cpus is None or not free):
        message = f"{free} cpus are listed for {others} threads"
        shown = list(plan.pinning) if isinstance(plan.pinning, tuple) else str(plan.pinning)
        return Fault(message, key="pinning", value=shown, allowed=f"at least {others} different cpu numbers")
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


def _nodes(plan: WorkloadPlan, machine: MachineSpec) -> Fault | None:
    topology: Topology = machine.topology
    for place, step in plan.all_steps():
        for node in nodes_named(step):
            if node == "remote" and topology.sockets == 1:
                message = f"works on remote memory, but {machine.name} has one socket"
                return Fault(message, key=place, value=node, allowed="local, or the number of a node")
            if not isinstance(node, str) and node >= topology.nodes:
                message = f"works on a NUMA node that {machine.name} does not have"
                return Fault(message, key=place, value=node, allowed=f"0 to {topology.nodes - 1}")
    homes_ = {f"lines.{name}.home": line.home for name, line in plan.lines.items()}
    homes_ |= {f"locks.{name}.home": lock.home for name, lock in plan.locks.items()}
    homes_ |= {f"channels.{name}.home": channel.home for name, channel in plan.channels.items()}
    for key, home in homes_.items():
        if home >= topology.sockets:
            allowed = f"0 to {topology.sockets - 1}"
            return Fault(f"{machine.name} has no such socket", key=key, value=home, allowed=allowed)
    return None


def _instruments(plan: WorkloadPlan, machine: MachineSpec, threads: int) -> Fault | None:
    """Steps that ask for what the machine's file does not describe, or for others who are not there."""
    for number, level in enumerate(plan.buffer.tree if plan.buffer is not None else ()):
        key, memory = f"buffer.tree[{number}]", machine.memory
        if level.far and memory.dram is None:
            message = f"the file of {machine.name} does not describe its DRAM channels (memory.dram)"
            return Fault(message, key=f"{key}.far", value=level.far, allowed="0, or one whose file does")
        if level.near and memory.core_cache is None:
            message = f"the file of {machine.name} does not say what a core's caches hold (memory.core_cache)"
            return Fault(message, key=f"{key}.near", value=level.near, allowed="0, or one whose file does")
    if plan.buffer is not None and threads > plan.buffer.interfaces:
        message = f"{threads} threads have {plan.buffer.interfaces} interfaces of an exmap"
        return Fault(message, key="buffer.interfaces", value=plan.buffer.interfaces, allowed=f"{threads}")
    for place, step in plan.all_steps():
        if (step.read_dram or step.stream_dram) and machine.memory.dram is None:
            message = f"the file of {machine.name} does not describe its DRAM channels (memory.dram)"
            return Fault(message, key=f"{place}.{step.kind}", allowed="a machine whose file does")
        if step.call_function is not None and threads == 1:
            message = "calls a function on others, and there is one thread"
            return Fault(message, key=f"{place}.call_function", allowed="two threads or more")
    return None


def _sharing(plan: WorkloadPlan, machine: MachineSpec, threads: int) -> Fault | None:
    """Threads that share cpus and do what the model knows for a thread with a cpu of its own only."""
    roles = [number for number in roles_of(plan, threads) if number is not None]
    seats = seats_of(plan, roles, machine.topology)
    children = most_children(plan, roles)
    free = 0
    if plan.cpus is None:
        free = len(set(order_of(plan.pinning, machine.topology)).difference(seats))
    if len(set(seats)) == threads and children <= free:
        return None
    if machine.kernel.slice is None or machine.kernel.tick is None:
        message = f"the file of {machine.name} does not describe slices (kernel.slice, kernel.tick)"
        if plan.cpus is not None:
            allowed = "a machine whose file does, or no `cpus`"
            return Fault(message, key="cpus", value=plan.cpus, allowed=allowed)
        place = next(place for place, step in plan.all_steps() if step.fork and not step.fork.wait)
        return Fault(message, key=f"{place}.fork", allowed=f"at most {free} children beside their parents")
    for place, step in plan.all_steps():
        if step.switch_mm:
            message = "threads that share a cpu each stay in their process"
            return Fault(message, key=f"{place}.switch_mm", allowed="no `cpus`, or a role's `process`")
        if step.turn or step.seq_read:
            message = f"`{step.kind}` spins: a thread would keep the cpu of the one that it waits for"
            return Fault(message, key=f"{place}.{step.kind}", allowed="no `cpus`, or another step")
    return None


# -- memory -------------------------------------------------------------------------------------------------


def _places(plan: WorkloadPlan, threads: int) -> Fault | None:
    """Slots that do not fit into their windows, and windows that do not fit into the address space."""
    if plan.layout is None:
        return None
    roles = [number or 0 for number in roles_of(plan, threads)]
    most = max(map(len, members(plan, homes(plan, roles))))
    if (crowded := crowding(plan, most)) is not None:
        return crowded
    if (plan.layout.base or 0) // PAGE_BYTES + span(plan, most) <= USER_PAGES:
        return None
    message = f"the windows of {most} threads do not fit into the 128 TiB of user addresses"
    return Fault(message, key="layout.stride", value=format_size(plan.layout.stride), allowed="less")


def _blocks(plan: WorkloadPlan, machine: MachineSpec, threads: int) -> Fault | None:
    """Blocks of pages that are more than there is."""
    frames = _frames(machine, plan.memory)
    for part in _used(plan, threads):
        track = Track(plan, part)
        repetitions = 1 if plan.window else plan.round
        kept = sum(1 << order for order in track.blocks) * (repetitions - 1)
        if track.most + kept > frames:
            message = f"a thread takes {format_size((track.most + kept) * PAGE_BYTES)} without giving it back"
            room = f"at most {format_size(frames * PAGE_BYTES)} on {machine.name}"
            return Fault(message, key=part.steps, allowed=room)
    return None


def _held(plan: WorkloadPlan, machine: MachineSpec, threads: int, swap_pages: int) -> Fault | None:
    """Steps that touch what is not mapped, and memory that is too small for what is held at the end."""
    if not plan.has_processes:
        return None
    for thread in _firsts(plan, threads):
        if (fault := _alone(plan, threads, thread)) is not None:
            return fault
    if _differs_by_thread(plan):
        for thread in _lasts(plan, threads):
            if (fault := rehearse(plan, threads, (thread,)).fault) is not None:
                return fault
    total = _totals(plan, threads)
    if total is None:
        return None
    held, mapped, most = total
    frames = _frames(machine, plan.memory) + swap_pages
    key, shown = "thread" if plan.roles is None else "roles", None
    if plan.layout is not None:
        key, shown = "layout.request", format_size(plan.layout.request)
    if max(held, most) > frames:
        message = (
            f"{threads} threads hold {format_size(held * PAGE_BYTES)}"
            if held > frames
            else f"a thread holds {format_size(most * PAGE_BYTES)} at once"
        )
        room = f"at most {format_size(frames * PAGE_BYTES)} in all on {machine.name}"
        return Fault(message, key=key, value=shown, allowed=room)
    if mapped > USER_PAGES:
        message = f"{threads} threads map {format_size(mapped * PAGE_BYTES)} of 128 TiB of user addresses"
        return Fault(message, key=key, value=shown, allowed="less")
    return None


def _firsts(plan: WorkloadPlan, threads: int) -> list[int]:
    """The first thread of each role that some thread takes."""
    roles = roles_of(plan, threads)
    return [roles.index(number) for number in sorted({number for number in roles if number is not None})]


def _lasts(plan: WorkloadPlan, threads: int) -> list[int]:
    """The last thread of each role that some thread takes."""
    roles = roles_of(plan, threads)
    return sorted({number: thread for thread, number in enumerate(roles) if number is not None}.values())


def _differs_by_thread(plan: WorkloadPlan) -> bool:
    """Whether a step maps the layout in another length than its own, or the set-up a slot, which is then that
    of the first thread: so that some windows may be left out."""
    mmaps = [(place, step.mmap) for place, step in plan.all_steps() if step.mmap]
    return any(
        (mmap.at == "layout" and mmap.size is not None) or (mmap.at == "slot" and place.startswith("setup"))
        for place, mmap in mmaps
    )


def _rehearsed(plan: WorkloadPlan, threads: int, played: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """How many threads there are in a rehearsal of these: no more than need be where all are alike."""
    return (max(1, len(played)) if len(plan.parts) == 1 else threads), played


def _alone(plan: WorkloadPlan, threads: int, thread: int) -> Fault | None:
    """What goes wrong when *thread* runs alone."""
    return rehearse(plan, *_rehearsed(plan, threads, (thread,)), ends=True).fault


def _totals(plan: WorkloadPlan, threads: int) -> tuple[int, int, int] | None:
    """Pages that are held and mapped by all threads at the end, and the most that one holds at once.

    None where that depends on the order of threads, or takes too long to find out.
    """
    roles = roles_of(plan, threads)
    base = rehearse(plan, *_rehearsed(plan, threads, ()))
    if base.held is None:
        return None
    held, mapped, most = base.held, base.mapped, base.most
    for number in sorted({number for number in roles if number is not None}):
        mine = [thread for thread, other in enumerate(roles) if other == number]
        one = rehearse(plan, *_rehearsed(plan, threads, (mine[0],)))
        if one.held is None:
            return None
        held, mapped, most = (
            held + one.held - base.held,
            mapped + one.mapped - base.mapped,
            max(most, one.most),
        )
        # A second thread takes as many steps again; where that is too long, its rehearsal would say nothing.
        one_more = one.steps - base.steps
        if len(mine) > 1 and not one.shared and one.steps + one_more <= MAX_STEPS:
            two = rehearse(plan, *_rehearsed(plan, threads, (mine[0], mine[1])))
            if two.held is not None:
                held += (len(mine) - 1) * (two.held - one.held)
                mapped += (len(mine) - 1) * (two.mapped - one.mapped)
    return held, mapped, most


def _frames(machine: MachineSpec, memory: MemoryPolicy) -> int:
    """How many pages the kernel can give out: whole blocks of each node that *memory* may use."""
    nodes, sockets = machine.topology.numa_nodes, machine.topology.sockets
    block = 1 << MAX_ORDER
    of_node = machine.memory.size_per_socket * sockets // nodes // PAGE_BYTES // block * block
    return of_node if isinstance(memory, Bind) else of_node * nodes


# -- time ---------------------------------------------------------------------------------------------------


def _used(plan: WorkloadPlan, threads: int) -> list[Part]:
    """The roles that some thread takes."""
    taken = {number for number in roles_of(plan, threads) if number is not None}
    return [part for number, part in enumerate(plan.parts) if number in taken]


def _duration(plan: WorkloadPlan, machine: MachineSpec, threads: int) -> Fault | None:
    """Steps that take no time at all, which would never end, and windows that end before anything is done."""
    clock, window = machine.clock, plan.window
    used = _used(plan, threads)
    for part in used:
        steps = [step for _, step in placed_steps(part.role.steps, "")]
        waits = threads > 1 and any(step.barrier is not None for step in steps)
        timed = plan.stack is not None  # a program reads the clock after each request
        if not waits and not timed and not any(_takes_time(step, clock) for step in steps):
            allowed = "a step that takes time"
            return Fault("take no time: a run would never end", key=part.steps, allowed=allowed)
    if window is None or isinstance(window.length, Requests) or isinstance(window.warm_up, Requests):
        return None
    end = window.warm_up + window.length
    spans = [_least_time(part.role.steps, clock) for part in used if part.role.measured]
    if spans and min(spans) >= end and window.warm_up >= window.skew:
        message = f"nothing can be measured: a repetition takes {format_duration(min(spans))} or more"
        shown, needed = format_duration(window.length), format_duration(min(spans))
        return Fault(message, key="window.length", value=shown, allowed=f"more than {needed} in all")
    return None


def _takes_time(step: Step, clock: int) -> bool:
    """Whether *step*, those inside it aside, takes time, at least now and then."""
    if (asked := step.compute) is not None:
        return (bounds_of(asked, clock)[1] if isinstance(asked, TimeDraw) else asked.at(clock)) > 0
    if step.fork is not None or step.kill is not None:
        return True
    return bool(step.sleep) or not (step.sleep is not None or step.barrier is not None or step.parts)


def _least_time(steps: Sequence[Step], clock: int) -> int:
    """Ps that *steps* take whatever the machine does: their own work and their sleep."""
    total = 0
    for step in steps:
        if (asked := step.compute or step.syscall) is not None:
            total += bounds_of(asked, clock)[0] if isinstance(asked, TimeDraw) else asked.at(clock)
        elif step.repeat is not None:
            times = step.repeat.times
            least = bounds_of(times, clock)[0] if isinstance(times, CountDraw) else times
            total += least * _least_time(step.repeat.steps, clock)
        elif step.signals is not None:
            total += 0 if step.signals.then == "end" else _least_time(step.signals.steps, clock)
        elif step.maybe is not None:
            total += min(_least_time(part, clock) for part in step.parts.values())
        else:
            total += (step.sleep or 0) + sum(_least_time(part, clock) for part in step.parts.values())
    return total
