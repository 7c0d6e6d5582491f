"""What each kind of step does: one maker a kind, called once for each step of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Final

from sim.engine import Activity, Steps
from sim.hardware import HUGE_PAGES, Cpu
from sim.mm import (
    NOTHING,
    SYSCALL,
    USER,
    AllocatePages,
    AllocateRegion,
    Exec,
    Exit,
    Fallocate,
    Fork,
    FreePages,
    Ftruncate,
    LookUp,
    Mmap,
    ProcessStatus,
    ReadMaps,
    ReadStatus,
    SegmentationFault,
    Signal,
    SwitchMm,
    Vfork,
    WriteRegion,
)
from sim.quantities import LINE_BYTES, PAGE_BYTES, PS_PER_S
from sim.sync import SCHED, SwitchCosts
from sim.workload.calls import CALLS, kill
from sim.workload.cross_calls import call_function
from sim.workload.dealing import Deal
from sim.workload.draws import STREAM, CountDraw, TimeDraw, drawing
from sim.workload.objects import Word, Words
from sim.workload.placed import Action, placed_action
from sim.workload.thread import ThreadEnds

if TYPE_CHECKING:
    from sim.designs import Kernel
    from sim.hardware import Machine
    from sim.mm import AddressSpace
    from sim.sync import RunQueues
    from sim.workload import step_spec as spec
    from sim.workload.buffers import Buffers
    from sim.workload.children import Children
    from sim.workload.heaps import Heaps
    from sim.workload.objects import Objects
    from sim.workload.processes import Processes
    from sim.workload.thread import Worker
    from sim.workload.window import Record

DRAM: Final = Activity("dram")
ASLEEP: Final = Activity("asleep")

Maker = Callable[["Stage", "spec.Step"], Action]


@dataclass
class Stage:
    """What the steps of one run work on. *streams* is how many threads make memory traffic.

    *queues* are there where threads share cpus or have children beside them, *processes* where the workload
    has any, *heaps* where it has an allocator, *buffers* where it has a buffer manager, *children* where a
    child is a task that queues. *record* is set when the threads begin.
    """

    machine: Machine
    kernel: Kernel
    objects: Objects
    processes: Processes | None
    streams: int
    queues: RunQueues | None = None
    children: Children | None = None
    record: Record | None = None
    heaps: Heaps | None = None
    buffers: Buffers | None = None
    statuses: list[ProcessStatus] = field(default_factory=list)
    """What was read of processes."""

    def __post_init__(self) -> None:
        self.gaps: Random = self.machine.engine.stream("memory traffic")
        self.deal = Deal(self.machine.engine.stream("shuffled blocks"))

    def node(self, cpu: Cpu, node: spec.Node) -> int:
        """The node that a step means by *node*."""
        topology = self.machine.spec.topology
        if node == "remote":
            return (cpu.node + topology.nodes_per_socket) % topology.nodes
        return cpu.node if node == "local" else node


def sequence(stage: Stage, steps: Sequence[spec.Step]) -> Callable[[Worker], Steps[object]]:
    """*steps* one after the other, as the body of a thread."""
    actions = [_action(stage, step) for step in steps]
    queues = stage.queues
    if len(actions) == 1 and queues is None:
        (only,) = actions

        def run_alone(worker: Worker) -> Steps[object]:
            body = only(worker)
            return _nothing() if body is None else body

        return run_alone

    def run(worker: Worker) -> Steps[None]:
        for action in actions:
            body = action(worker)
            if body is not None:
                yield from body

    def run_in_turn(worker: Worker) -> Steps[None]:
        assert queues is not None
        for action in actions:
            body = action(worker)
            if body is not None:
                yield from body
            if not worker.locks:  # a lock is the kernel's: who holds one is not in user mode
                yield from queues.preempt(worker.cpu)

    return run if queues is None else run_in_turn


def _nothing() -> Steps[None]:
    return
    yield


def _action(stage: Stage, step: spec.Step) -> Action:
    placed = step.placed
    return _MAKERS[step.kind](stage, step) if placed is None else placed_action(placed)


# -- time ---------------------------------------------------------------------------------------------------


def _compute(stage: Stage, step: spec.Step) -> Action:
    clock, asked, queues = stage.machine.spec.clock, step.compute, stage.queues
    assert asked is not None
    if isinstance(asked, TimeDraw):
        draw, name = drawing(asked, clock), asked.stream
        if queues is None:
            return lambda worker: worker.cpu.work(draw(worker.stream(name)), USER)
        return lambda worker: queues.compute(worker.cpu, draw(worker.stream(name)), USER)
    cost = asked.at(clock)
    if queues is None:
        return lambda worker: worker.cpu.work(cost, USER)
    return lambda worker: queues.compute(worker.cpu, cost, USER)


def _syscall(stage: Stage, step: spec.Step) -> Action:
    """Private work, and nobody interrupts it to let others run, as in other system calls."""
    entry, clock, asked = stage.machine.entry, stage.machine.spec.clock, step.syscall
    assert asked is not None
    if isinstance(asked, TimeDraw):
        draw, name = drawing(asked, clock), asked.stream
        return lambda worker: entry.syscall(worker.cpu, SYSCALL, draw(worker.stream(name)))
    cost = asked.at(clock)
    return lambda worker: entry.syscall(worker.cpu, SYSCALL, cost)


def _sleep(stage: Stage, step: spec.Step) -> Action:
    scheduler, time = stage.objects.scheduler, step.sleep
    assert time is not None
    return lambda worker: scheduler.nap(worker.cpu, time, ASLEEP)


def _sched_yield(stage: Stage, step: spec.Step) -> Action:
    asked, entry, scheduler = step.sched_yield, stage.machine.entry, stage.objects.scheduler
    assert asked is not None
    cost = asked.at(stage.machine.spec.clock)

    def run(worker: Worker) -> Steps[None]:
        entry.syscall(worker.cpu, SYSCALL)
        yield from scheduler.give_way(worker.cpu, cost)

    return run


# -- lines, locks, channels ---------------------------------------------------------------------------------


def _word(stage: Stage, name: str | None) -> Callable[[Worker], Word]:
    """The word *name* as each thread sees it."""
    assert name is not None
    word = stage.objects.words[name]
    return word.of if isinstance(word, Words) else lambda worker: word


def _load(stage: Stage, step: spec.Step) -> Action:
    word = _word(stage, step.load)
    return lambda worker: word(worker).load(worker.cpu)


def _store(stage: Stage, step: spec.Step) -> Action:
    word = _word(stage, step.store)
    return lambda worker: word(worker).store(worker.cpu)


def _add(stage: Stage, step: spec.Step) -> Action:
    word = _word(stage, step.add)
    return lambda worker: word(worker).add(worker.cpu)


def _cas_add(stage: Stage, step: spec.Step) -> Action:
    assert step.cas_add is not None
    word, retry = _word(stage, step.cas_add.line), step.cas_add.retry.at(stage.machine.spec.clock)
    return lambda worker: word(worker).cas_add(worker.cpu, retry)


def _turn(stage: Stage, step: spec.Step) -> Action:
    word = _word(stage, step.turn)
    return lambda worker: word(worker).turn(worker)


def _keep_pace(stage: Stage, step: spec.Step) -> Action:
    assert step.keep_pace is not None
    return stage.objects.paces[step.keep_pace].keep


def _meet(stage: Stage, step: spec.Step) -> Action:
    assert step.meet is not None
    return stage.objects.barriers[step.meet].meet


def _lock_use(use: str, change: int) -> Maker:
    """A maker of steps that take (*change* 1) or release (-1) a lock by its method *use*."""

    def make(stage: Stage, step: spec.Step) -> Action:
        act: Callable[[Cpu], Steps[None]] = getattr(stage.objects.locks[getattr(step, use)], use)

        def run(worker: Worker) -> Steps[None]:
            worker.locks += change
            return act(worker.cpu)

        return run

    return make


def _seq_read(stage: Stage, step: spec.Step) -> Action:
    assert step.seq_read is not None
    lock, inner = stage.objects.locks[step.seq_read.lock], sequence(stage, step.seq_read.steps)

    def run(worker: Worker) -> Steps[None]:
        again = True
        while again:
            number = yield from lock.read_begin(worker.cpu)
            yield from inner(worker)
            again = yield from lock.read_retry(worker.cpu, number)

    return run


def _send(stage: Stage, step: spec.Step) -> Action:
    assert step.send is not None
    channels = stage.objects.channels[step.send]
    return lambda worker: channels.of(worker).send(worker.cpu)


def _receive(stage: Stage, step: spec.Step) -> Action:
    assert step.receive is not None
    channels = stage.objects.channels[step.receive]
    return lambda worker: channels.of(worker).receive(worker.cpu)


def _barrier(stage: Stage, step: spec.Step) -> Action:
    barrier, skew = stage.objects.barrier, step.barrier
    assert skew is not None
    return lambda worker: barrier.meet(worker.cpu, skew)


# -- memory, page allocator ---------------------------------------------------------------------------------


def _read_dram(stage: Stage, step: spec.Step) -> Action:
    memory, times = stage.machine.memory, step.read_dram
    assert times is not None

    def run(worker: Worker) -> Steps[None]:
        cpu = worker.cpu
        node = stage.node(cpu, step.node or "local")
        for _ in range(times):
            if cpu.pending:
                yield cpu.take_pending()
            cpu.stall(memory.read_line(cpu, node), DRAM)

    return run


def _stream_dram(stage: Stage, step: spec.Step) -> Action:
    """One line, and the pause until the next is due. Exponential: delay loops are not in step."""
    assert step.stream_dram is not None
    gap = LINE_BYTES * PS_PER_S * stage.streams / step.stream_dram.bandwidth

    def run(worker: Worker) -> Steps[None]:
        cpu = worker.cpu
        stage.machine.memory.read_line(cpu, cpu.node)
        cpu.stall(max(1, int(stage.gaps.expovariate(1) * gap)), USER)
        yield cpu.take_pending()

    return run


def _clear(stage: Stage, step: spec.Step) -> Action:
    what, memory = step.clear, stage.machine.memory
    assert what is not None
    pages = what.size // PAGE_BYTES

    def run(worker: Worker) -> Steps[None]:
        cpu = worker.cpu
        node = stage.node(cpu, what.node)
        for _ in range(pages // HUGE_PAGES):
            yield from memory.clear_huge_page(cpu, node)
        for _ in range(pages % HUGE_PAGES):
            yield from memory.clear_page(cpu, node)

    return run


def _copy(stage: Stage, step: spec.Step) -> Action:
    what, memory = step.copy_, stage.machine.memory
    assert what is not None

    def run(worker: Worker) -> Steps[None]:
        cpu = worker.cpu
        node, source = stage.node(cpu, what.node), stage.node(cpu, what.source)
        for _ in range(what.size // PAGE_BYTES):
            yield from memory.copy_page(cpu, node, source=source)

    return run


def _allocate(stage: Stage, step: spec.Step) -> Action:
    what, kernel = step.allocate, stage.kernel
    assert what is not None
    asked = AllocatePages(what.order)

    deal = stage.deal

    def run(worker: Worker) -> Steps[None]:
        deal.joined(worker)
        for _ in range(what.count):
            worker.blocks.append((yield from kernel.perform(worker.cpu, asked)))

    return run


def _free(stage: Stage, step: spec.Step) -> Action:
    what, kernel = step.free, stage.kernel
    assert what is not None

    deal = stage.deal if what.which == "shuffled" else None
    end = -1 if what.which == "newest" else 0

    def run(worker: Worker) -> Steps[None]:
        if deal is not None:
            deal.shuffle(worker)
        for _ in range(what.count):
            yield from kernel.perform(worker.cpu, FreePages(worker.blocks.pop(end), what.order))

    return run


def _find_region(stage: Stage, step: spec.Step) -> Action:
    regions, kernel = stage.objects.regions, stage.kernel
    assert regions is not None  # the file was refused otherwise
    return lambda worker: kernel.perform(worker.cpu, LookUp(regions.page(worker.stream(STREAM))))


def _write_region(stage: Stage, step: spec.Step) -> Action:
    regions, kernel = stage.objects.regions, stage.kernel
    assert regions is not None

    def run(worker: Worker) -> Steps[None]:
        at = regions.take(worker.stream(STREAM))
        yield from kernel.perform(worker.cpu, WriteRegion(at, regions.pages))
        regions.leave(at)

    return run


def _allocate_region(stage: Stage, step: spec.Step) -> Action:
    regions, kernel = stage.objects.regions, stage.kernel
    assert regions is not None
    asked = AllocateRegion(regions.pages)
    return lambda worker: kernel.perform(worker.cpu, asked)


def _malloc(stage: Stage, step: spec.Step) -> Action:
    assert step.malloc is not None
    assert stage.heaps is not None  # the file was refused otherwise
    return stage.heaps.malloc(step.malloc)


def _mfree(stage: Stage, step: spec.Step) -> Action:
    assert step.mfree is not None
    assert stage.heaps is not None
    return stage.heaps.mfree(step.mfree)


def _realloc(stage: Stage, step: spec.Step) -> Action:
    assert step.realloc is not None
    assert stage.heaps is not None
    return stage.heaps.realloc(step.realloc)


def _fill_buffer(stage: Stage, step: spec.Step) -> Action:
    assert stage.buffers is not None  # the file was refused otherwise
    return stage.buffers.fill()


def _look_up(stage: Stage, step: spec.Step) -> Action:
    assert step.look_up is not None
    assert stage.buffers is not None
    return stage.buffers.look_up(step.look_up.stream)


def _fallocate(stage: Stage, step: spec.Step) -> Action:
    what, kernel = step.fallocate, stage.kernel
    assert what is not None
    name, offset, pages = what.file, what.offset, what.size // PAGE_BYTES

    def run(worker: Worker) -> Steps[object]:
        at = worker.request * pages if offset == "request" else offset // PAGE_BYTES
        asked = Fallocate(worker.file(name), at, pages)
        return worker.ask_kernel(kernel, asked, may_fail=what.may_fail)

    return run


def _ftruncate(stage: Stage, step: spec.Step) -> Action:
    what, kernel = step.ftruncate, stage.kernel
    assert what is not None
    name, pages = what.file, what.size // PAGE_BYTES
    return lambda worker: worker.ask_kernel(kernel, Ftruncate(worker.file(name), pages))


def _read_maps(stage: Stage, step: spec.Step) -> Action:
    return lambda worker: worker.perform(ReadMaps())


def _read_status(stage: Stage, step: spec.Step) -> Action:
    def run(worker: Worker) -> Steps[None]:
        told = yield from worker.perform(ReadStatus())
        stage.statuses.append(told)

    return run


def _vvar_vclock(stage: Stage, step: spec.Step) -> Action:
    """No mapping of the program's own: `back` does not count it. It has no rights, for want of a name that
    would keep it from joining its neighbours."""
    assert step.vvar_vclock is not None
    asked = Mmap(-(-step.vvar_vclock // PAGE_BYTES), None, NOTHING)
    return lambda worker: worker.perform(asked) if worker.space.vvar_vclock else _nothing()


def _switch_mm(stage: Stage, step: spec.Step) -> Action:
    processes = stage.processes
    assert processes is not None  # the file was refused otherwise
    return processes.next


# -- steps that hold steps ----------------------------------------------------------------------------------


def _fork(stage: Stage, step: spec.Step) -> Action:
    """The child runs beside its parent, or on its cpu while it waits."""
    what, children = step.fork, stage.children
    assert what is not None
    steps = sequence(stage, what.steps)

    def inner(worker: Worker) -> Steps[None]:
        with suppress(ThreadEnds):
            yield from steps(worker)

    if children is None:
        return _fork_and_wait(stage, inner, what)
    if not what.wait:
        return lambda worker: children.fork(worker, inner, what)

    def run(worker: Worker) -> Steps[None]:
        yield from children.fork(worker, inner, what)
        yield from children.wait(worker, newest=True)

    return run


def _fork_and_wait(stage: Stage, inner: Callable[[Worker], Steps[object]], what: spec.ForkStep) -> Action:
    """Where nobody else may want the cpu meanwhile: two context switches, and nobody sleeps."""
    kernel, switch = stage.kernel, SwitchCosts(stage.machine).switch

    def load(cpu: Cpu, space: AddressSpace) -> Steps[None]:
        cpu.probe.context_switch(cpu)
        cpu.work(switch, SCHED)
        yield from kernel.perform(cpu, SwitchMm(space))

    def run(worker: Worker) -> Steps[None]:
        cpu, parent, mapped = worker.cpu, worker.space, len(worker.mapped)
        descriptors = list(worker.descriptors)
        worker.space = yield from worker.perform(Vfork() if what.vfork else Fork())
        yield from load(cpu, worker.space)
        if what.exec:
            worker.space = yield from worker.perform(Exec())
        yield from inner(worker)
        yield from worker.perform(Exit())
        yield from load(cpu, parent)
        worker.space, worker.descriptors = parent, descriptors
        del worker.mapped[mapped:]

    return run


def _wait(stage: Stage, step: spec.Step) -> Action:
    children, everybody = stage.children, step.wait == "all"
    assert children is not None  # the file was refused otherwise
    return lambda worker: children.wait(worker, everybody=everybody)


def _repeat(stage: Stage, step: spec.Step) -> Action:
    assert step.repeat is not None
    times, inner = step.repeat.times, sequence(stage, step.repeat.steps)
    draw = drawing(times, 1) if isinstance(times, CountDraw) else None
    name = times.stream if isinstance(times, CountDraw) else ""

    def run(worker: Worker) -> Steps[None]:
        count = draw(worker.stream(name)) if draw is not None else times
        assert isinstance(count, int)
        for _ in range(count):
            yield from inner(worker)

    return run


def _signals(stage: Stage, step: spec.Step) -> Action:
    what = step.signals
    assert what is not None
    actions = [sequence(stage, [each]) for each in what.steps]
    handler = sequence(stage, what.handler)

    def run(worker: Worker) -> Steps[None]:
        for action in actions:
            helped = yield from attempt(worker, action)
            if helped:
                yield from action(worker)

    def attempt(worker: Worker, action: Callable[[Worker], Steps[object]]) -> Steps[bool]:
        """Value: whether it got a signal and is to be done again."""
        try:
            yield from action(worker)
        except SegmentationFault as fault:
            yield from worker.perform(Signal())
            if what.then == "end":
                raise ThreadEnds from fault
            yield from handler(worker)
            yield from worker.perform(Signal(returns=True))
            return what.then == "retry"
        return False

    return run


def _kill(stage: Stage, step: spec.Step) -> Action:
    assert step.kill is not None
    return kill(step.kill, sequence(stage, step.kill.handler))


def _call_function(stage: Stage, step: spec.Step) -> Action:
    assert step.call_function is not None
    return call_function(stage.machine, step.call_function)


def _maybe(stage: Stage, step: spec.Step) -> Action:
    what = step.maybe
    assert what is not None
    steps, otherwise = sequence(stage, what.steps), sequence(stage, what.otherwise)

    def run(worker: Worker) -> Steps[object]:
        done = worker.stream(what.stream).random() < what.probability
        return steps(worker) if done else otherwise(worker)

    return run


def _timed(stage: Stage, step: spec.Step) -> Action:
    assert step.timed is not None
    inner, per = sequence(stage, step.timed), step.per or 1
    less = None if step.less is None else sequence(stage, step.less)

    def run(worker: Worker) -> Steps[None]:
        cpu, record = worker.cpu, stage.record
        assert record is not None
        begun = cpu.now
        if less is not None:
            yield from less(worker)
            begun = 2 * cpu.now - begun  # later by what they took
        touched = worker.touched
        yield from inner(worker)
        if record.counted and cpu.pending:
            yield cpu.take_pending()
        ended, worker.noted = worker.noted or cpu.now, None
        operations = worker.touched - touched if isinstance(per, str) else per
        if operations:
            record.add(worker, begun if less is None else min(begun, ended - 1), ended, operations)

    return run


_MAKERS: Mapping[str, Maker] = {
    "compute": _compute,
    "syscall": _syscall,
    "sleep": _sleep,
    "sched_yield": _sched_yield,
    "load": _load,
    "store": _store,
    "add": _add,
    "cas_add": _cas_add,
    "turn": _turn,
    "keep_pace": _keep_pace,
    "meet": _meet,
    "lock": _lock_use("lock", 1),
    "unlock": _lock_use("unlock", -1),
    "read_lock": _lock_use("read_lock", 1),
    "read_unlock": _lock_use("read_unlock", -1),
    "seq_read": _seq_read,
    "send": _send,
    "receive": _receive,
    "barrier": _barrier,
    "read_dram": _read_dram,
    "stream_dram": _stream_dram,
    "clear": _clear,
    "copy": _copy,
    "allocate": _allocate,
    "free": _free,
    "find_region": _find_region,
    "write_region": _write_region,
    "allocate_region": _allocate_region,
    "malloc": _malloc,
    "mfree": _mfree,
    "realloc": _realloc,
    "fill_buffer": _fill_buffer,
    "look_up": _look_up,
    "fallocate": _fallocate,
    "ftruncate": _ftruncate,
    "read_maps": _read_maps,
    "read_status": _read_status,
    "vvar_vclock": _vvar_vclock,
    "switch_mm": _switch_mm,
    "fork": _fork,
    "wait": _wait,
    "signals": _signals,
    "kill": _kill,
    "call_function": _call_function,
    **CALLS,
    "repeat": _repeat,
    "maybe": _maybe,
    "timed": _timed,
}
