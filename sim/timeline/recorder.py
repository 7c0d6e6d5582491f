"""The listener that makes the timeline of a point: from hooks to pieces of each cpu's time.

Charges say which activity the time is of; what is open around them (operation, locks) other hooks say, before
the charge. How the time of a charge was spent follows from what was told just before it:

    line_transfer ... charge     a cache line came, for what the transfer costs; the rest is work
    charge > pending             a wait that ends: for the line it was told of, asleep, or spinning
    charge, interrupt            a handler; it began when the second one says

A point may be several runs (`pooled_threads`). The first is drawn, the folded stacks are of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from sim.engine.probe import Probe
from sim.hardware import IDLE, INTERRUPT
from sim.hardware.cpu import INJECTED_DELAY
from sim.hardware.interrupts import IPI_WAIT
from sim.timeline.counts import Counts
from sim.timeline.folded import Folded
from sim.timeline.held import Locks, Release, Wait
from sim.timeline.lane import HANDLER, Lane
from sim.timeline.scope import Asked, Scope
from sim.timeline.shown import Call, Shown, shown_of
from sim.timeline.spans import Flows, Frame, Node, Notes

if TYPE_CHECKING:
    from sim.engine import Engine
    from sim.engine.probe import CallView, CpuView, Distance, LineView, LockView, Mode

QUEUES: Final = "queues for the line"
SPINS: Final = "spins"
ASLEEP: Final = "asleep"
_PLAIN: Final = frozenset((IDLE.name, IPI_WAIT.name, INJECTED_DELAY.name))
"""Activities whose name says how the time passes."""

FROM: Final[dict[str, str]] = {
    "same core": "line from the sibling",
    "same cluster": "line from the same cluster",
    "same socket": "line from the same socket",
    "other socket": "line from the other socket",
    "memory": "line from memory",
}
"""Distance of a transfer -> how the thread spends that time. An atomic on a line that is here is work."""

HOWS: Final = frozenset((QUEUES, SPINS, ASLEEP, HANDLER, *FROM.values()))
"""All that a stack may say of how time was spent."""


class Timeline(Probe):
    """Listens to the runs of one point; *windowed* says whether its workload measures in a window.

    Afterwards *shown* is what is drawn, *folded* where the time of all runs went.
    """

    def __init__(self, asked: Asked, *, windowed: bool) -> None:
        self._asked = asked
        self._windowed = windowed
        self._runs = 0
        self._lanes: list[Lane] = []
        self._flows = 0
        self.folded = Folded()
        self.shown = Shown()

    # -- the run --------------------------------------------------------------------------------------------

    def attach(self, engine: Engine) -> None:
        self._engine = engine
        self._lanes = []
        self._counts = Counts()
        self._runs += 1

    def run_begins(self, cpus: Sequence[CpuView]) -> None:
        scope = self._scope = Scope(self._asked, self._engine, windowed=self._windowed)
        first = self._runs == 1
        every = self._asked.every
        now = self._engine._now
        self._lanes = [Lane(cpu, now, scope, drawn=first and cpu.id % every == 0) for cpu in cpus]
        self._owners = [cpu.current for cpu in cpus]
        self._stacks: dict[object, Node] = {}
        self._lines: list[list[tuple[str, Distance, int]]] = [[] for _ in cpus]  # transfers to be charged
        self._queued: list[str | None] = [None for _ in cpus]  # the line that a wait was for
        self._stolen = [False for _ in cpus]  # a handler is charged and its begin is not told yet
        self._handled: list[tuple[Notes, Flows]] = [({}, ()) for _ in cpus]  # of the next handler
        self._inline = [False for _ in cpus]  # the next handler is charged to the thread
        self._gives: list[list[int]] = [[] for _ in cpus]  # arrows that begin with what comes next
        self._locks = Locks()
        self._calls: dict[CallView, Call] = {}
        self._counts.begin(len(cpus))
        if not self._windowed:
            scope.zero = now

    def measures(self, cpus: Sequence[CpuView]) -> None:
        self._measured = [cpu.id for cpu in cpus]

    def turn_page(self) -> None:
        now, scope = self._engine._now, self._scope
        for lane in self._lanes:
            lane.settle()
            lane.turn(now)
        if scope.zero is None:
            scope.zero = now
        elif scope.over is None:
            scope.over = now

    def run_ends(self) -> None:
        now, scope = self._engine._now, self._scope
        if scope.zero is None:
            scope.zero = now
        if scope.over is None:
            scope.over = now
        for lane in self._lanes:
            lane.close()
        self.folded.add(self._lanes, self._measured, scope.page, scope.over - scope.zero)
        if self._runs == 1:
            calls = list(self._calls.values())
            self.shown = shown_of(self._lanes, scope, self._locks.waits, self._counts, calls)

    # -- for other listeners --------------------------------------------------------------------------------

    @property
    def zero(self) -> int | None:
        """When the measured part of the first run began (ps); None outside of it."""
        scope = self._scope
        return None if self._runs > 1 or not self._lanes or scope.over is not None else scope.zero

    def frames(self, cpu: CpuView) -> list[Frame]:
        """What is open on *cpu* now, the operation first."""
        return [frame for _, frame in self._node(cpu).frames()]

    # -- stacks ---------------------------------------------------------------------------------------------

    def _node(self, cpu: CpuView) -> Node:
        """The stack of the thread on *cpu*. Where threads share cpus, the thread is its root."""
        task = cpu.current
        node = self._stacks.get(task)
        if node is None:
            node = Node()
            if task is not self._owners[cpu.id]:
                node = Node(node, Frame(str(task), "thread", str(task)))
                self._lanes[cpu.id].alone = False
            self._stacks[task] = node
        return node

    def _open(self, cpu: CpuView, frame: Frame) -> None:
        self._stacks[cpu.current] = Node(self._node(cpu), frame)

    def _end(self, cpu: CpuView, key: object) -> None:
        node = self._node(cpu)
        frame = node.find(key)
        if frame is not None:
            self._stacks[cpu.current] = node.without(frame)

    def operation_begins(self, cpu: CpuView, operation: Any) -> None:
        if self._lanes:
            name = operation.name
            notes: Notes = {"operation": repr(operation)}
            self._open(cpu, Frame(name, "operation", name, id(operation), notes))

    def operation_ends(self, cpu: CpuView, operation: Any) -> None:
        if self._lanes:
            self._end(cpu, id(operation))

    # -- time -----------------------------------------------------------------------------------------------

    def charge(self, cpu: CpuView, activity: str, cost: int) -> None:
        if not self._lanes:
            return
        number = cpu.id
        if activity == INTERRUPT.name:
            self._charge_handler(cpu, cost)
            return
        if not cost:
            return
        lane, node = self._lanes[number], self._node(cpu)
        gives: Flows = ()
        if self._gives[number]:
            gives = tuple(self._gives[number])
            self._gives[number].clear()
        waited = cost - cpu.pending
        if waited > 0 and activity != INJECTED_DELAY.name:
            line = self._queued[number]
            how = ASLEEP if cpu.in_kernel_wait else SPINS if line is None else QUEUES
            notes: Notes | None = {"line": line} if how == QUEUES and line is not None else None
            lane.add_wait(node, activity, "" if activity in _PLAIN else how, waited, notes)
            cost -= waited
        self._queued[number] = None
        lines = self._lines[number]
        if lines:
            self._lines[number] = []
            name, distance, came = lines[-1][0], lines[-1][1], sum(line[2] for line in lines)
            if waited > 0 or came > cost:
                came = cost
            if came:
                notes = {"line": name} if len(lines) == 1 else {"line": f"{name} and {len(lines) - 1} more"}
                lane.add(node, activity, FROM[distance], came, notes, gives)
                gives = ()
                cost -= came
        if cost:
            lane.add(node, activity, "", cost, None, gives)

    def _charge_handler(self, cpu: CpuView, cost: int) -> None:
        number = cpu.id
        if self._inline[number]:
            self._inline[number] = False
            notes, flows = self._handled[number]
            self._handled[number] = {}, ()
            self._lines[number].clear()  # the handler's own
            if cost:
                self._lanes[number].add(self._node(cpu), INTERRUPT.name, HANDLER, cost, notes, flows)
        elif cost < 0:
            self._lanes[number].cut_handlers(-cost)
        else:
            self._stolen[number] = True

    def interrupt(self, cpu: CpuView, begins: int, length: int) -> None:
        if not self._lanes:
            return
        number = cpu.id
        if not self._stolen[number]:
            self._inline[number] = True
            return
        self._stolen[number] = False
        notes, flows = self._handled[number]
        self._handled[number] = {}, ()
        self._lanes[number].add_handler(begins, length, notes, flows)

    def interrupt_goes_on(self, cpu: CpuView, begins: int, length: int) -> None:
        if self._lanes:
            self._stolen[cpu.id] = False
            self._lanes[cpu.id].add_handler(begins, length, {}, ())

    def line_transfer(
        self, line: LineView, cpu: int, source: int, distance: Distance, cost: int, write: bool
    ) -> None:
        if not self._lanes or distance == "same cpu":
            return
        view = self._lanes[cpu].cpu
        if view.waiting:
            if view.thread is not None and view.thread.waiting_for is line:
                self._queued[cpu] = line.name
                self._lines[cpu] = [(line.name, distance, cost)]
        elif self._engine.active_process is view.thread:
            self._lines[cpu].append((line.name, distance, cost))

    def line_prefetched(self, line: LineView, cpu: CpuView) -> None:
        if self._lanes:
            self._lines[cpu.id].clear()

    # -- locks ----------------------------------------------------------------------------------------------

    def lock_wait(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        if not self._lanes:
            return
        state = self._locks.of(lock)
        holder = state.in_the_way(mode)
        state.waiting[cpu.current, mode] = cpu.now
        notes: Notes = {"mode": mode}
        if holder:
            notes["held by"] = holder
        name = f"wait for {lock.name}" if holder else f"take {lock.name}"
        self._open(cpu, Frame(name, "lock wait", None, ("wait", lock, mode), notes))

    def lock_acquired(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        if not self._lanes:
            return
        state = self._locks.of(lock)
        since = state.waiting.pop((cpu.current, mode), cpu.now)
        self._end(cpu, ("wait", lock, mode))
        name = lock.activity.name.removeprefix("lock: ")
        fold = f"holding {name}" if mode == "write" else f"holding {name} (read)"
        frame = Frame(f"holds {lock.name}", "lock hold", fold, ("hold", lock, mode), {"mode": mode})
        given = state.given_by(since, mode)
        if given is not None and given.cpu is not cpu:
            frame.notes["after"] = f"{given.cpu} ({given.mode})"
            self._locks.waits.append(Wait(lock.name, since, cpu.now, cpu))
            if given.flow is not None:
                frame.flows = (given.flow,)
                given.flow = None
        state.holding[cpu.current, mode] = cpu
        self._open(cpu, frame)

    def lock_missed(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        if self._lanes:
            self._locks.of(lock).waiting.pop((cpu.current, mode), None)
            self._end(cpu, ("wait", lock, mode))

    def lock_release(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        if not self._lanes:
            return
        state = self._locks.of(lock)
        state.holding.pop((cpu.current, mode), None)
        self._end(cpu, ("hold", lock, mode))
        flow = None
        if state.waiting:
            flow = self._new_flow()
            self._gives[cpu.id].append(flow)
        state.released[mode] = Release(cpu, cpu.now, mode, flow)

    def lock_downgraded(self, lock: LockView, cpu: CpuView) -> None:
        if not self._lanes:
            return
        self.lock_release(lock, cpu, "write")
        name = lock.activity.name.removeprefix("lock: ")
        notes: Notes = {"mode": "read, downgraded"}
        frame = Frame(
            f"holds {lock.name}", "lock hold", f"holding {name} (read)", ("hold", lock, "read"), notes
        )
        self._locks.of(lock).holding[cpu.current, "read"] = cpu
        self._open(cpu, frame)

    # -- interrupts by call, flushes, switches ---------------------------------------------------------------

    def ipi_call(self, call: CallView) -> None:
        if not self._lanes or not call.targets:
            return
        sender = call.sender
        flows = {target.id: self._new_flow() for target in call.targets}
        self._calls[call] = Call(sender, sender.now, len(call.targets), flows)
        self._gives[sender.id] += flows.values()

    def ipi_handle(self, cpu: CpuView, calls: Sequence[CallView]) -> None:
        if not self._lanes:
            return
        known = [self._calls[call] for call in calls if call in self._calls]
        senders = ", ".join(dict.fromkeys(str(call.sender) for call in known))
        flows = tuple(call.flows[cpu.id] for call in known if cpu.id in call.flows)
        self._handled[cpu.id] = {"called by": senders} if senders else {}, flows

    def ipi_ack(self, cpu: CpuView, call: CallView, at: int) -> None:
        if self._lanes and (known := self._calls.get(call)) is not None:
            known.acknowledged += 1
            known.ended = max(known.ended, at)

    def flush(self, cpu: CpuView, pages: int) -> None:
        if self._lanes:
            what = f"{pages} pages" if pages > 1 else "1 page" if pages else "all pages"
            self._lanes[cpu.id].add_moment(self._node(cpu), f"TLB flush of {what}")

    def context_switch(self, cpu: CpuView) -> None:
        if self._lanes:
            self._lanes[cpu.id].add_moment(self._node(cpu), "context switch")

    def idle_begins(self, cpu: CpuView) -> None:
        self._counts.runs(self._engine._now, -1)

    def idle_ends(self, cpu: CpuView) -> None:
        self._counts.runs(self._engine._now, 1)

    # -- frames of memory -----------------------------------------------------------------------------------

    def frame_allocated(self, cpu: CpuView, frame: int, order: int) -> None:
        self._counts.frames(cpu.now, 1 << order)

    def frame_freed(self, cpu: CpuView, frame: int, order: int) -> None:
        self._counts.frames(cpu.now, -(1 << order))

    def _new_flow(self) -> int:
        self._flows += 1
        return self._flows
