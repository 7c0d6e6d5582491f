"""One run: boot the design on the machine, set up, release the threads, take the accounts.

    first thread of a process   set-up | stacks, creates the threads | joins  | writes the start flag
    thread i                             uses its stack              | prepares | polls .. sees it | requests
                                                                                  ^ skewed: its polling loop

Threads of a program (a workload with a `stack`) are created by the first thread of their process and wait for
a flag; others are simply there. The account of every cpu opens when the threads are released and closes when
the last one is done. A thread does so many requests, or goes on until the window of the run is over (see
`window`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from sim.engine import QUIET, Activity, Engine, Probe, Schedule, ScheduleName, Steps
from sim.engine.costs import at_clock
from sim.errors import ModelError
from sim.hardware import Cpu, Machine, MachineSpec, booted
from sim.mm import USER, Mmap, PlaceRegions, Reference, UffdClose
from sim.quantities import PAGE_BYTES
from sim.sync import NOTHING, LocksWithout, RunQueues, SwitchSpace, Without
from sim.workload.actions import Stage, sequence
from sim.workload.boot import boot
from sim.workload.buffers import Buffers
from sim.workload.children import Children
from sim.workload.collection import no_collection
from sim.workload.files import Files
from sim.workload.heaps import Heaps
from sim.workload.midway import PilotRun, Shares, Start, spread
from sim.workload.objects import Objects
from sim.workload.pinning import order_of
from sim.workload.processes import Processes, homes
from sim.workload.protocol import most_children
from sim.workload.result import Run, balanced, whole
from sim.workload.roles import roles_of, seats_of
from sim.workload.step_spec import placed_steps
from sim.workload.thread import ThreadEnds, Worker
from sim.workload.window import Meter, Record

if TYPE_CHECKING:
    from sim.designs import DesignSpec, Kernel
    from sim.hardware import CacheLine
    from sim.workload.plan import Role, WorkloadPlan

START: Final = Activity("start")

Body = Callable[[Worker], Steps[object]]
"""What a thread does for a while."""


@no_collection()
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
    without: Without = NOTHING,
) -> Run:
    """Run *plan* once with so many *threads*, pinned as it says, on a machine with their cpus online.

    Some locks and lines are not what they were where it is *without* them.

    Raises `AccountingError` unless the activities of all cpus sum to cpus x elapsed, to the picosecond, and
    `BrokenInvariant` where the end state breaks a rule.
    """
    engine = Engine(seed=seed, schedule=schedule, max_events=max_events, max_time_ps=max_time_ps, probe=probe)
    machine = machine.with_memory(plan.memory_size)
    roles = [number for number in roles_of(plan, threads) if number is not None]
    if len(roles) < threads:
        raise ModelError(f"no role fits some of the {threads} threads")
    seats = seats_of(plan, roles, machine.topology)
    used = {seat: index for index, seat in enumerate(dict.fromkeys(seats))}
    others = [cpu for cpu in order_of(plan.pinning, machine.topology) if cpu not in used]
    busy = machine.under_load(machine.topology.seat(number) for number in used)
    free = others[: most_children(plan, roles)] if plan.cpus is None else []
    ready = booted(busy, design.release, virtual_ipis=design.virtual_ipis, deepest_idle=design.deepest_idle)
    hardware = Machine(
        engine, ready, len(used) + len(free), [*used, *others], without.lines, gives_back=bool(without.waits)
    )
    if without:
        rule = LocksWithout(without)
        for cpu in hardware.cpus:
            cpu.rule_locks(rule)
    workers = [Worker(thread, hardware.cpus[used[seat]], engine) for thread, seat in enumerate(seats)]
    free_cpus = hardware.cpus[len(used) :]
    run = _Run(hardware, boot(hardware, design, plan.memory), plan, workers, roles, free_cpus)
    run.set_up()
    started = engine._now
    run.release()
    elapsed = engine._now - started
    for cpu in hardware.cpus:
        cpu.close_account()
    probe.run_ends()
    result = balanced(run.result(elapsed))
    run.verify()
    return result


class _Run:
    """The threads of one run and what they work on."""

    def __init__(
        self,
        machine: Machine,
        kernel: Kernel,
        plan: WorkloadPlan,
        workers: list[Worker],
        numbers: list[int],
        free: list[Cpu],
    ) -> None:
        """*numbers* has the number of each thread's role, *free* the cpus that are there for children."""
        self._engine = machine.engine
        self._machine = machine
        self._plan = plan
        self._workers = workers
        self._numbers = numbers
        self._roles: list[Role] = [plan.parts[number].role for number in numbers]
        self._home = homes(plan, numbers)
        self._processes = (
            Processes(machine, kernel, plan, workers, self._home) if plan.has_processes else None
        )
        self._kernel = kernel
        self._files = Files(kernel, plan.files, plan.objects)
        for worker, number in zip(workers, numbers, strict=True):
            worker.role = plan.parts[number].key
            worker.file = partial(self._files.of, worker)
        self._shared = len(machine.cpus) - len(free) < len(workers)
        streams = sum(
            any(step.stream_dram for _, step in placed_steps(role.steps, "")) for role in self._roles
        )
        objects = Objects(machine, plan, len(workers), sharing=self._shared)
        self._stage = Stage(machine, kernel, objects, self._processes, streams)
        if plan.allocator is not None:
            self._stage.heaps = Heaps(plan.allocator, objects.workshop)
        if plan.buffer is not None:
            self._stage.buffers = Buffers(machine, plan.buffer)
        forks = plan.forks_beside or (self._shared and plan.forks)
        if forks and self._processes is not None:
            scheduler = objects.scheduler
            self._stage.children = Children(machine, kernel, self._processes, scheduler, free)
            self._shared = self._shared or len(free) < most_children(plan, numbers)
        self._serving = [serves(role) for role in self._roles]
        self._served = Counter(
            process for process, serving in zip(self._home, self._serving, strict=True) if not serving
        )
        self._timed = any(_has_timed(role) for role in self._roles)
        self._measured = [
            worker
            for worker, role in zip(workers, self._roles, strict=True)
            if role.measured and (_has_timed(role) or not self._timed)
        ]
        self._measured_cpus = list(dict.fromkeys(worker.cpu for worker in self._measured))
        self._costs = at_clock(machine.spec.kernel, machine.spec.clock)
        self._starts: dict[Worker, Start] = {}
        """Where threads begin, if in the middle of a round."""
        self._flag: CacheLine | None = machine.line("start flag", owner=0) if plan.stack else None

    # -- before the threads start ---------------------------------------------------------------------------

    def set_up(self) -> None:
        """Set up the processes, create the threads, let them prepare; takes simulated time."""
        if self._stage.objects.regions is not None:
            self._all_at_once({self._workers[0]: self._place_regions}, "regions of")
        if self._processes is None:
            alone = {
                worker: self._prepare_alone
                for worker, role in zip(self._workers, self._roles, strict=True)
                if role.prepare
            }
            if alone:
                self._all_at_once(alone, "set-up of")
            return
        if self._plan.files or self._plan.objects:
            self._make_files()
        if self._processes.program is not None:
            self._run_program(self._processes)
        self._all_at_once({self._workers[first]: self._main for first in self._processes.set_up_by}, "main")
        prepare = {
            worker: self._prepare
            for worker, role in zip(self._workers, self._roles, strict=True)
            if role.prepare or self._plan.stack is None
        }
        self._all_at_once(prepare, "set-up of")
        self._go_to_the_middle()

    def _run_program(self, processes: Processes) -> None:
        """The program maps what it has, and forks each process where that will run, one after the other."""
        firsts = [self._workers[first] for first in processes.set_up_by]

        def run() -> Steps[None]:
            main, program = firsts[0], processes.program
            assert program is not None
            program.activate(main.cpu)
            main.space = program
            yield from sequence(self._stage, self._plan.program)(main)
            main.forget_mapped()
            for process, worker in enumerate(firsts):
                if main.cpu.pending:
                    yield main.cpu.take_pending()
                yield from processes.fork(worker, process)
                main = worker
            if main.cpu.pending:
                yield main.cpu.take_pending()

        thread = self._engine.process(run(), "program")
        for worker in firsts:
            worker.cpu.thread = thread
        self._engine.run()

    def _place_regions(self, worker: Worker) -> Steps[object]:
        regions = self._stage.objects.regions
        assert regions is not None
        return self._kernel.perform(worker.cpu, PlaceRegions(tuple(regions)))

    def _make_files(self) -> None:
        """The files of the run, those of each process, and those of each thread."""
        assert self._processes is not None
        firsts = [self._workers[first] for first in self._processes.set_up_by]
        for worker, process in zip(self._workers, self._home, strict=True):
            worker.process = process
        for workers, each in ((self._workers[:1], "run"), (firsts, "process"), (self._workers, "thread")):
            bodies: dict[Worker, Body] = {
                worker: partial(self._files.make, each=each) for worker in dict.fromkeys(workers)
            }
            self._all_at_once(bodies, "files of")

    def _all_at_once(self, bodies: Mapping[Worker, Body], what: str) -> None:
        """Let each of these threads do something to its end; those of one cpu one after the other."""
        if not bodies:
            return
        by_cpu: defaultdict[Cpu, list[tuple[Worker, Body]]] = defaultdict(list)
        for worker, body in bodies.items():
            by_cpu[worker.cpu].append((worker, body))

        def run(parts: list[tuple[Worker, Body]]) -> Steps[None]:
            for worker, body in parts:
                yield from body(worker)
                if worker.cpu.pending:
                    yield worker.cpu.take_pending()

        for cpu, parts in by_cpu.items():
            cpu.thread = self._engine.process(run(parts), f"{what} thread {parts[0][0].number}")
        self._engine.run()

    def _main(self, worker: Worker) -> Steps[None]:
        """The first thread of a process: its set-up and its threads; the same for processes without one."""
        processes = self._processes
        assert processes is not None
        program = sequence(self._stage, self._plan.program)
        setup = sequence(self._stage, self._plan.setup)
        for process, first in enumerate(processes.set_up_by):
            if first != worker.number:
                continue
            processes.enter_to_set_up(worker, process)
            yield from processes.load(worker.cpu, process)
            if processes.program is None and self._plan.program:
                yield from program(worker)
                worker.forget_mapped()
            yield from setup(worker)
            worker.forget_mapped()
            if self._plan.stack is not None:
                yield from self._create_threads(worker, process)

    def _create_threads(self, main: Worker, process: int) -> Steps[None]:
        """Map a stack for each thread of *process* and start it, one thread after the other."""
        stack, processes, cpu = self._plan.stack, self._processes, main.cpu
        assert stack is not None
        assert processes is not None
        pages, touched = stack.size // PAGE_BYTES, stack.touched // PAGE_BYTES

        def use_stack(worker: Worker, top: int) -> Steps[None]:
            processes.enter(worker, process)
            yield from processes.load(worker.cpu, process)
            for page in range(top - touched, top):
                yield from worker.space.access(worker.cpu, page)
            if worker.cpu.pending:
                yield worker.cpu.take_pending()

        for worker in self._workers:
            if self._home[worker.number] != process:
                continue
            top = (yield from main.perform(Mmap(pages))) + pages
            cpu.work(self._costs.create_thread, START)
            yield cpu.take_pending()
            if worker.cpu is cpu:
                yield from use_stack(worker, top)
            else:
                started = self._engine.process(use_stack(worker, top), f"start of thread {worker.number}")
                worker.cpu.thread = started

    def _prepare_alone(self, worker: Worker) -> Steps[None]:
        """What a thread without a process does once before all of them start."""
        yield from sequence(self._stage, self._roles[worker.number].prepare)(worker)

    def _prepare(self, worker: Worker) -> Steps[None]:
        """What a thread does once before all of them start, where it goes round them in each process."""
        processes, process = self._processes, self._home[worker.number]
        assert processes is not None
        processes.enter(worker, process)
        prepare = sequence(self._stage, self._roles[worker.number].prepare)
        if self._plan.visits:
            for _ in processes.spaces:
                yield from processes.next(worker)
                yield from prepare(worker)
        else:
            if self._plan.stack is None:
                yield from processes.load(worker.cpu, process)
            yield from prepare(worker)
        worker.keep_mapped()

    def _go_to_the_middle(self) -> None:
        """Where threads begin in the middle of their rounds: find out where, and make up for what lies
        before."""
        plan, window = self._plan, self._plan.window
        if window is None or (window.pilot is None and not any(role.past for role in self._roles)):
            return
        random = self._engine.stream("stagger")
        if window.pilot is None:
            self._starts = {worker: Start(int(random.random() * plan.round)) for worker in self._workers}
        else:
            numbers = sorted(set(self._numbers))
            parts = {number: Shares(len(plan.parts[number].role.refill)) for number in numbers}
            for requests in window.pilot.sizes:
                run, bodies = PilotRun(self._engine, requests, window.pilot.rounds, len(self._workers)), {}
                for number, shares in parts.items():
                    role = plan.parts[number].role
                    refill = [sequence(self._stage, [step]) for step in role.refill]
                    bodies[number] = run.body(shares, sequence(self._stage, role.steps), refill)
                lives = zip(self._workers, self._numbers, strict=True)
                self._all_at_once({worker: bodies[number] for worker, number in lives}, "pilot of")
            for number, shares in parts.items():
                workers = [worker for worker in self._workers if self._numbers[worker.number] == number]
                self._starts |= spread(workers, shares, plan.round, random)
        self._all_at_once(dict.fromkeys(self._workers, self._make_up), "past of")

    def _make_up(self, worker: Worker) -> Steps[None]:
        """What lies before the point at which *worker* begins."""
        role, start = self._roles[worker.number], self._starts[worker]
        if start.refill:
            yield from sequence(self._stage, role.refill[: start.refill])(worker)
        else:
            worker.request = start.request
            yield from sequence(self._stage, role.past)(worker)

    # -- the run --------------------------------------------------------------------------------------------

    def release(self) -> None:
        """Release the threads and let all of them end."""
        plan, cpus = self._plan, self._machine.cpus
        for cpu in cpus:
            cpu.open_account()
        self._engine.probe.run_begins(cpus)
        self._engine.probe.measures(self._measured_cpus)
        measured = plan.measured
        if plan.window:
            self._stage.record = Meter(
                self._engine,
                plan.window,
                cpus,
                len(self._measured),
                self._kernel.grace_periods,
                round_=plan.round,
            )
        else:
            self._stage.record = (
                Record(measured.first, measured.last, self._engine.probe)
                if measured
                else Record(probe=self._engine.probe)
            )
        if self._shared or self._stage.children is not None:
            self._stage.queues = self._run_queues()
        bodies = {number: self._requests(plan.parts[number].role) for number in set(self._numbers)}
        for worker in self._workers:
            self._start(worker, self._life(worker, bodies[self._numbers[worker.number]]))
        self._engine.run()

    def _run_queues(self) -> RunQueues:
        """The run queues of the cpus, which some threads share, or children may come to."""
        processes, children = self._processes, self._stage.children
        switch: SwitchSpace | None = None
        if children is not None:
            switch = children.load
        elif processes is not None and processes.switching:
            switch = processes.load
        queues = RunQueues(
            self._machine, switch_mm=switch, note_switch=self._kernel.note_switch, shared=self._shared
        )
        if children is not None:
            children.queue_on(queues)
        return queues

    def _start(self, worker: Worker, life: Steps[None]) -> None:
        """Let *worker* live its *life*, on a cpu of its own or when it is its turn."""
        cpu, name, queues = worker.cpu, f"thread {worker.number}", self._stage.queues
        if queues is not None:
            queues.spawn(cpu, lambda _: life, name, self._home[worker.number])
        else:
            cpu.thread = self._engine.process(life, name)

    def result(self, elapsed: int) -> Run:
        """What the run gave, after the accounts have been closed."""
        record, events = self._stage.record, self._engine.events
        cpus = self._measured_cpus
        assert record is not None
        if isinstance(record, Meter):
            span, spent = record.length, record.spent(cpus)
        else:
            span, spent = elapsed, whole(cpus)
        threads = len(self._measured)
        return Run(
            record.operations,
            record.latencies,
            threads,
            len(cpus),
            span,
            spent,
            elapsed,
            events,
            self._kernel.footprint,
            self._stage.statuses,
        )

    def verify(self) -> None:
        """Raises `BrokenInvariant` where the end state breaks a rule."""
        held = [
            Reference(frame, "a block of thread", worker.number)
            for worker in self._workers
            for frame in worker.blocks
        ]
        self._kernel.verify(self._processes.by_cpus() if self._processes else {}, held)

    def _life(self, worker: Worker, requests: Body) -> Steps[None]:
        """A thread from its release to its end."""
        cpu, window, skew = worker.cpu, self._plan.window, self._engine.stream("start").random
        if self._flag is not None:
            cpu.stall(int(skew() * self._costs.poll), START)
            yield from self._flag.read(cpu, START)
        elif window is not None:
            cpu.stall(int(skew() * window.skew), START)
            if window.start == "asleep":
                cpu.set_need_resched()
            elif window.start == "from-idle":
                self._machine.idle.was_idle(cpu.id)
        if not self._serving[worker.number] or self._served[self._home[worker.number]]:
            with suppress(ThreadEnds):
                yield from requests(worker)
        if any(self._serving):
            yield from self._leave_served(worker)
        queues = self._stage.queues
        if self._processes is not None and queues is None:
            yield from worker.space.deactivate(cpu)
        if cpu.pending:
            yield cpu.take_pending()
        record = self._stage.record
        assert record is not None
        yield from self._stage.objects.leave(worker, over=record.over(cpu.now))
        if cpu.pending:
            yield cpu.take_pending()
        if queues is None:  # a run queue switches to the next thread and leaves the cpu after the last
            cpu.leave()

    def _leave_served(self, worker: Worker) -> Steps[None]:
        """The last thread of a process that others serve tells them so."""
        process = self._home[worker.number]
        if not self._serving[worker.number]:
            self._served[process] -= 1
            if not self._served[process]:
                yield from worker.perform(UffdClose())

    def _requests(self, role: Role) -> Body:
        """The requests of a thread in *role*, one round of slots after the other."""
        plan, record = self._plan, self._stage.record
        assert record is not None
        steps, refill = sequence(self._stage, role.steps), sequence(self._stage, role.refill)
        counts = role.measured and not self._timed
        timestamp = self._costs.timestamp if plan.stack else 0
        serving = serves(role)

        def one_round(worker: Worker, first: int = 0) -> Steps[bool]:
            """Value: whether it was gone through to its end, from its request *first* on."""
            cpu = worker.cpu
            for request in range(first, plan.round):
                begun = cpu.now
                if worker.done if serving else record.over(begun):
                    return False
                worker.request = request
                before = self._engine._now
                yield from steps(worker)
                if timestamp:
                    cpu.work(timestamp, USER)
                if record.counted and cpu.pending and (counts or self._engine._now == before):
                    yield cpu.take_pending()  # others must come to the end of a window that is counted
                if counts:
                    record.add(worker, begun, cpu.now, 1)
            return True

        staggered = plan.window is not None and plan.window.staggered

        def begin(worker: Worker) -> Steps[int]:
            """Value: the request at which *worker* begins."""
            start = self._starts.get(worker)
            if start is None:
                return int(self._engine.stream("stagger").random() * plan.round) if staggered else 0
            if start.refill is None:
                return start.request
            yield from sequence(self._stage, role.refill[start.refill :])(worker)
            worker.forget_mapped()
            return 0

        def until_over(worker: Worker) -> Steps[None]:
            first = yield from begin(worker)
            while (yield from one_round(worker, first)):
                yield from refill(worker)
                worker.forget_mapped()
                first = 0

        return one_round if plan.window is None and not serving else until_over


def serves(role: Role) -> bool:
    """Whether its threads bring in pages for others."""
    return any(step.serve for _, step in placed_steps(role.steps, ""))


def _has_timed(role: Role) -> bool:
    return any(step.timed for _, step in placed_steps(role.steps, ""))
