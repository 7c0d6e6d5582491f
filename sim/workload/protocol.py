"""What the steps of threads do to each other: locks, rings, barriers, channels and blocks of pages, foreseen.

Everything here holds for every run with so many threads, whatever the machine and whatever the order in which
threads come to run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sim.errors import Fault
from sim.workload.draws import CountDraw
from sim.workload.meetings import stuck
from sim.workload.roles import roles_of
from sim.workload.step_spec import placed_steps

if TYPE_CHECKING:
    from sim.workload.plan import Part, Role, WorkloadPlan
    from sim.workload.step_spec import FreeStep, Step

_NOT_OF_CHILDREN = (
    *("barrier", "turn", "keep_pace", "meet", "timed", "receive", "allocate", "free", "switch_mm"),
    *("malloc", "mfree", "realloc"),
)
"""Steps that belong to the threads of the workload: others count on them, or know them by their number."""

MOST_REPEATS = 1000
"""Repetitions inside a request that are followed; more change nothing that can be foreseen."""


def flaw(plan: WorkloadPlan, threads: int) -> Fault | None:
    """Why the threads of *plan* cannot work together when there are so many, if so."""
    tasks = threads - plan.threads_beside
    if tasks < 1:
        message = f"{plan.threads_beside} threads run beside the tasks, and there are {threads}"
        return Fault(message, key="threads_beside", allowed=f"less than {threads}")
    if tasks % plan.threads_per_task:
        message = f"a task is {plan.threads_per_task} threads, and {tasks} are no whole tasks"
        return Fault(message, key="threads_per_task", allowed=f"a divisor of {threads}")
    roles = roles_of(plan, threads)
    if None in roles:
        message = f"no role fits thread {roles.index(None)} of {threads}"
        return Fault(message, key="roles", allowed="a last role with `who: all`")
    taken = Counter(number for number in roles if number is not None)
    parts, tracks = plan.parts, {}
    for number in taken:
        track = tracks[number] = Track(plan, parts[number])
        if track.fault is not None:
            return track.fault
    if not any(_measures(parts[number].role) for number in taken):
        message = f"with {threads} threads no role is measured"
        return Fault(message, key="roles", allowed="a role with `measured: true`, or a `timed` step")
    return (
        _alone_before(plan, [parts[number] for number in taken])
        or _apart(plan, tracks, threads)
        or _crossed(tracks, taken)
        or stuck(plan, [number for number in roles if number is not None])
    )


def most_children(plan: WorkloadPlan, roles: Sequence[int]) -> int:
    """How many children may run at once beside threads whose roles have these numbers."""
    if not plan.forks_beside:
        return 0
    counts = Counter(roles)
    return sum(count * Track(plan, plan.parts[number]).most_children for number, count in counts.items())


def _measures(role: Role) -> bool:
    return role.measured or any(step.timed for _, step in placed_steps(role.steps, ""))


def _alone_before(plan: WorkloadPlan, parts: Sequence[Part]) -> Fault | None:
    """Waiting for other threads where these need not come: in a set-up, while they prepare or refill."""
    lists = [("program", plan.program), ("setup", plan.setup)]
    for part in parts:
        lists += [(key, steps) for key, steps in part.lists() if key != part.steps]
    for key, steps in lists:
        for place, step in placed_steps(steps, key):
            children = step.wait or (step.fork is not None and not step.fork.wait)
            meets = step.barrier is not None or step.turn or step.keep_pace or step.meet
            if meets or step.receive or step.timed is not None or children:
                message = f"`{step.kind}` belongs to what threads do as their requests"
                return Fault(message, key=f"{place}.{step.kind}", allowed="a step of `thread` or of a role")
        track = Track(plan, parts[0], (key, steps))
        if track.fault is not None:
            return track.fault
    return None


@dataclass
class Track:
    """One repetition of a role's steps, followed in order. *fault* is the first that cannot work.

    *meetings* counts barriers (as "") and, by the name of the line, turns; *held* is which locks are held at
    each, *before* which have been taken by then, both with whether for writing; *places* is where it stands.
    """

    plan: WorkloadPlan
    part: Part
    steps: tuple[str, Sequence[Step]] | None = None
    """Steps, and their key, to be followed instead of those of the role."""
    fault: Fault | None = None
    meetings: Counter[str] = field(default_factory=Counter)
    held: dict[tuple[str, int], dict[str, bool]] = field(default_factory=dict)
    before: dict[tuple[str, int], dict[str, bool]] = field(default_factory=dict)
    places: dict[tuple[str, int], str] = field(default_factory=dict)
    blocks: list[int] = field(default_factory=list)
    """Orders of the blocks that are taken at the end, oldest first."""
    most: int = 0
    """Pages of blocks taken at once."""
    children: list[int] = field(default_factory=list)
    """Those that run beside the thread, the oldest first: each counts itself and what it may have itself."""
    most_children: int = 0
    """How many there are at once."""
    _locked: dict[str, str] = field(default_factory=dict)
    """Lock -> where it was taken."""
    _read: Counter[str] = field(default_factory=Counter)
    _reading: list[str] = field(default_factory=list)
    _taken: dict[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        key, steps = self.steps or (self.part.steps, self.part.role.steps)
        self._follow(steps, key)
        for name, place in self._locked.items():
            self._refuse(f"{name} is still held when the steps begin again", place, "an `unlock` after it")
        for name, count in self._read.items():
            if count:
                message = f"{name} is still held for reading when the steps begin again"
                self._refuse(message, key, "a `read_unlock` for each `read_lock`")
        if self.children:
            message = "nobody has waited for a child when the steps end, or begin again"
            self._refuse(message, key, "a `wait` for each `fork` with `wait: false`")

    def _follow(self, steps: Sequence[Step], key: str) -> None:
        for index, step in enumerate(steps):
            place = f"{key}[{index}]"
            if step.seq_read:
                self._seq_read(step, place)
            elif step.maybe is not None:
                for inner, inside in step.parts.items():
                    self._by_chance(inside, f"{place}.{inner}", f"{place}.maybe")
            elif step.repeat is not None:
                self._repeat(step, place)
            elif step.timed:
                for inner, inside in step.parts.items():
                    self._follow(inside, f"{place}.{inner}")
            else:
                self._step(step, place)

    def _repeat(self, step: Step, place: str) -> None:
        assert step.repeat is not None
        if isinstance(step.repeat.times, CountDraw):
            self._by_chance(step.repeat.steps, f"{place}.repeat.steps", f"{place}.repeat")
            return
        for _ in range(min(step.repeat.times, MOST_REPEATS)):
            self._follow(step.repeat.steps, f"{place}.repeat.steps")
            if self.fault is not None:
                break

    def _by_chance(self, steps: Sequence[Step], key: str, place: str) -> None:
        """Steps of which nobody knows how often they are done: they leave everything as it was."""
        before = dict(self._locked), +self._read, list(self.blocks), Counter(self.meetings)
        children = list(self.children)
        self._follow(steps, key)
        if (dict(self._locked), +self._read) != before[:2]:
            self._refuse("steps that may be left out must leave all locks as they were", place)
        if self.blocks != before[2]:
            self._refuse("steps that may be left out must give back the blocks that they take", place)
        if self.children != children:
            self._refuse("steps that may be left out must wait for the children that they fork", place)
        if self.meetings != before[3]:
            self._refuse("others would wait for a thread that may leave out this barrier or turn", place)

    def _seq_read(self, step: Step, place: str) -> None:
        assert step.seq_read is not None
        name, before = step.seq_read.lock, (dict(self._locked), +self._read)
        if name in self._locked:
            self._refuse(f"waits for the writer of {name}, which is this thread", f"{place}.seq_read")
        self._reading.append(name)
        self._follow(step.seq_read.steps, f"{place}.seq_read.steps")
        self._reading.pop()
        if (dict(self._locked), +self._read) != before:
            message = "the steps of a reader may be repeated and must leave all locks as they were"
            self._refuse(message, f"{place}.seq_read")

    def _step(self, step: Step, place: str) -> None:
        if step.lock:
            if step.lock in self._locked or self._read[step.lock]:
                self._refuse(f"waits for {step.lock}, which this thread holds", f"{place}.lock")
            if step.lock in self._reading:
                message = f"writes what it reads under {step.lock}: the reader begins again for ever"
                self._refuse(message, f"{place}.lock")
            self._locked[step.lock] = f"{place}.lock"
            self._taken[step.lock] = True
        elif step.unlock:
            if self._locked.pop(step.unlock, None) is None:
                self._refuse(f"{step.unlock} is not locked here", f"{place}.unlock", "a `lock` before it")
        elif step.read_lock:
            if step.read_lock in self._locked:
                self._refuse(f"waits for {step.read_lock}, which this thread holds", f"{place}.read_lock")
            self._read[step.read_lock] += 1
            self._taken.setdefault(step.read_lock, False)
        elif step.read_unlock:
            if not self._read[step.read_unlock]:
                message = f"{step.read_unlock} is not locked for reading here"
                self._refuse(message, f"{place}.read_unlock", "a `read_lock` before it")
            self._read[step.read_unlock] -= 1
        elif step.barrier is not None or step.turn or step.keep_pace or step.meet:
            self._meet(step.turn or step.keep_pace or step.meet or "", f"{place}.{step.kind}")
        elif step.fork is not None and not step.fork.wait:
            self._fork(step.fork.steps, f"{place}.fork")
        elif step.receive or step.wait or (step.send and self.plan.channels[step.send].capacity is not None):
            if held := [*self._locked, *+self._read, *self._reading]:
                message = f"waits for other threads with {held[0]} held"
                self._refuse(message, f"{place}.{step.kind}", f"`unlock: {held[0]}` before it")
            if step.wait:
                self._wait(everybody=step.wait == "all", place=f"{place}.wait")
        elif step.allocate:
            self.blocks += [step.allocate.order] * step.allocate.count
            self.most = max(self.most, sum(1 << order for order in self.blocks))
        elif step.free:
            self._give_back(step.free, f"{place}.free")

    def _fork(self, steps: Sequence[Step], place: str) -> None:
        """A child that runs beside the thread; it does *steps* once."""
        for key, step in placed_steps(steps, f"{place}.steps"):
            bounded = step.send and self.plan.channels[step.send].capacity is not None
            if bounded or step.kind in _NOT_OF_CHILDREN:
                message = f"a child that runs beside its parent cannot `{step.kind}`"
                self._refuse(message, f"{key}.{step.kind}", "`wait: true`, or another step")
        its = Track(self.plan, self.part, (f"{place}.steps", steps))
        if its.fault is not None:
            self.fault = self.fault or its.fault
        self.children.append(1 + its.most_children)
        self.most_children = max(self.most_children, sum(self.children))

    def _wait(self, *, everybody: bool, place: str) -> None:
        if not self.children:
            message = "there is no child to wait for"
            self._refuse(message, place, "a `fork` with `wait: false` before it")
        del self.children[: None if everybody else 1]

    def _meet(self, line: str, place: str) -> None:
        meeting = line, self.meetings[line]
        self.meetings[line] += 1
        self.held[meeting] = dict.fromkeys(+self._read, False) | dict.fromkeys(self._locked, True)
        self.before[meeting] = dict(self._taken)
        self.places[meeting] = place

    def _give_back(self, free: FreeStep, place: str) -> None:
        count, order = free.count, free.order
        if len(self.blocks) < count:
            message = f"gives back {count} blocks where {len(self.blocks)} are taken"
            self._refuse(message, place, "an `allocate` of as many before it")
        cut = len(self.blocks) - count if free.which == "newest" else count
        given, self.blocks = self.blocks[:cut], self.blocks[cut:]
        if free.which == "newest":
            given, self.blocks = self.blocks, given
        elif free.which == "shuffled":
            given = [*given, *self.blocks]
        other = next((other for other in given if other != order), order)
        if other != order:
            message = f"gives back blocks of order {order} that were taken with order {other}"
            rule = {"oldest": "the oldest go first", "newest": "the newest go first"}
            self._refuse(message, place, f"order {other}: {rule.get(free.which, 'any of them may go')}")

    def _refuse(self, message: str, place: str, allowed: str | None = None) -> None:
        if self.fault is None:
            self.fault = Fault(message, key=place, allowed=allowed)


def _apart(plan: WorkloadPlan, tracks: dict[int, Track], threads: int) -> Fault | None:
    """Roles that do not come to where others wait for them."""
    if threads == 1:
        return None
    for line in dict.fromkeys(line for track in tracks.values() for line in track.meetings):
        counts = {number: track.meetings[line] for number, track in tracks.items()}
        fewest = min(counts, key=lambda number: counts[number])
        missing = not counts[fewest]
        if missing or (plan.window is None and len(set(counts.values())) > 1):
            what = f"its turn at {line}" if line else "the barrier"
            if any(line in (step.keep_pace, step.meet) for _, step in plan.all_steps() if line):
                what = f"the others at {line}"
            message = f"comes to {what} {counts[fewest]} times a repetition"
            message += f", other roles {max(counts.values())} times"
            return Fault(message, key=tracks[fewest].part.steps, allowed="as often in every role")
    return None


def _crossed(tracks: dict[int, Track], taken: Counter[int]) -> Fault | None:
    """A thread that waits for others who wait for a lock that it holds."""
    for number, track in tracks.items():
        others = [its for other, its in tracks.items() if other != number or taken[number] > 1]
        for meeting, held in track.held.items():
            for name, writing in held.items():
                wanted = [its.before[meeting] for its in others if meeting in its.before]
                if any(name in before and (writing or before[name]) for before in wanted):
                    message = f"waits for other threads with {name} held, which they take before that"
                    return Fault(message, key=track.places[meeting], allowed=f"`unlock: {name}` before it")
    return None
