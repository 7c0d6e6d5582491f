"""A race: a program whose last round is run step by step, as a decider says, and held against the oracle.

The rounds before it are set up in the plain order and are not looked at: they are the same in all orders.
When the race is over all that holds between rounds is checked, and each call's answer (`histories`). What is
left is then taken down, and nothing may be left over: that is done once for each different end of a race.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

from sim.designs import Rules
from sim.engine import Engine, Probe, Steps, listen
from sim.engine.schedule import Fifo
from sim.hardware import Cpu, Machine, MachineSpec
from sim.mm.address_space import USER
from sim.verify.checking import Counts, Run
from sim.verify.explore.changed import in_race
from sim.verify.explore.order import Decides, Order
from sim.verify.explore.traces import Trace, listening
from sim.verify.histories import Recorded, RecordedRun
from sim.verify.locks import EXCLUSIVE, LOCKS, Inside, Turn, follow
from sim.verify.machines import Body, merged, raw_spec, start
from sim.verify.process import Process
from sim.verify.programs import OnFile, Program
from sim.verify.races import History

State = tuple[Hashable, ...]
"""What a race has come to: the answers, the rights and contents of pages, and how much memory is in use."""


class _Asked(Fifo):
    """All steps are taken one by one: nothing is done ahead of time in one go."""

    asked = True


_SPECS: dict[str, MachineSpec] = {}


def _machine(
    changes: Mapping[str, Any] | None = None,
    *,
    ties: object = None,
    seed: int = 0,
    online: int | None = None,
    listeners: Sequence[Probe] = (),
    max_events: int = 10_000_000,
) -> Machine:
    """A small machine whose lines are everywhere at once."""
    known = repr(changes)
    if known not in _SPECS:
        _SPECS[known] = MachineSpec.model_validate(merged(raw_spec(), changes or {}))
    engine = Engine(seed=seed, schedule=_Asked, max_events=max_events, probe=listen(*listeners))
    machine = Machine(engine, _SPECS[known], online, lines_here=("*",))
    machine.fabric.heard_guards = False  # the line of a file's mappings is here as all others are
    return machine


class _Stepwise(Process):
    """Its threads go step by step while there is a `decider`."""

    boot: ClassVar[Callable[..., Machine]] = staticmethod(_machine)
    decider: Decides | None = None
    trace: Trace
    checked = False

    def run(
        self, bodies: Mapping[int, Callable[[Cpu], Steps[None]]], wakes_elsewhere: Collection[int] = ()
    ) -> None:
        if self.decider is None:
            super().run(bodies, wakes_elsewhere)
            return
        self.wakes_elsewhere = wakes_elsewhere
        for cpu in self.cpus:
            cpu.in_kernel_wait = False
        for cpu in self.cpus:
            start(cpu, self._whole_life(bodies.get(cpu.id)))
        _step(self.machine, self.decider, self.trace, self.spaces)
        for cpu in self.cpus:
            cpu.close_account()
        self.verify()

    def verify(self) -> None:
        if self.checked:
            super().verify()

    def _whole_life(self, body: Callable[[Cpu], Steps[None]] | None) -> Callable[[Cpu], Steps[None]]:
        inner = super()._whole_life(body)

        def whole_life(cpu: Cpu) -> Steps[None]:
            cpu.work(1, USER)  # others may be done before it begins
            yield cpu.take_pending()
            yield from inner(cpu)

        return whole_life


class _Raced(RecordedRun):
    """A run that ends with its race, but for ends that are new: `ends` has those that were taken down."""

    process_kind = _Stepwise

    def __init__(
        self,
        program: Program,
        listeners: Sequence[Probe] = (),
        *,
        decider: Decides,
        trace: Trace,
        ends: set[State],
    ) -> None:
        super().__init__(program, [*listeners, trace])
        self._decider = decider
        self._trace = trace
        self._ends = ends
        self._answers: dict[int, list[Hashable]] = {}
        self._writers: dict[int, tuple[int, int]] = {}
        self.end: State = ()

    @property
    def _anchored(self) -> bool:
        """All that races map has an address."""
        return False

    def _create_files(self, number: int) -> None:
        """Most races have none."""
        rounds = self.program.rounds
        if any(isinstance(each, OnFile) for threads in rounds for its in threads for each in its):
            super()._create_files(number)

    def run(self) -> None:
        assert isinstance(self.process, _Stepwise)
        *before, race = self.program.rounds
        for threads in before:
            super()._round([list(operations) for operations in threads])
        self._answers.clear()
        self.process.decider, self.process.trace, self.process.checked = self._decider, self._trace, True
        super()._round([list(operations) for operations in race])
        self.process.decider = None
        self.end = self._state()
        if self.end in self._ends:
            return
        self._take_down()
        self._ends.add(self.end)

    def _take_down(self) -> None:
        """All is read once more, unmapped, and nothing is left."""
        program, self.program = self.program, replace(self.program, rounds=[])
        Run.run(self)
        self.program = program

    def at_rest(self) -> None:
        assert isinstance(self.process, _Stepwise)
        if self.process.checked:
            super().at_rest()
        elif self.histories:
            self.settle_races()

    def _state(self) -> State:
        """What the race has come to; who has written what counts, not when."""
        pages = tuple(
            (number, page, its.rights, None if its.frame is None else self._said(its.frame.version))
            for number, side in enumerate(self.sides)
            for page, its in sorted(side.model.pages.items())
        )
        memory = self.kernel.memory
        tables = sum(1 for side in self.sides for root in side.space.roots() for _ in root.tables())
        used = 0 if memory is None else len(memory.in_use)
        answers = tuple((cpu, *told) for cpu, told in sorted(self._answers.items()))
        return answers, pages, tables, used

    def _said(self, version: int) -> Hashable:
        return self._writers.get(version, version)

    def _access(self, cpu: Cpu, page: int, write: bool) -> Steps[None]:
        if write:
            before = sum(1 for who, _ in self._writers.values() if who == cpu.id)
            self._writers[self.stamps + 1] = cpu.id, before
        yield from super()._access(cpu, page, write)

    def new_history(self) -> History:
        return _Heard(self.rules, self._answer)

    def _answer(self, page: int, cpu: int, write: bool, version: int | None) -> None:
        self._trace.touch(("page", page), True)
        found = "signal" if version is None else "done" if write else self._said(version)
        self._answers.setdefault(cpu, []).append((page, "write" if write else "read", found))


class _Heard(Recorded):
    """A history that tells *answer* of each access: page, cpu, whether it writes, what it has found."""

    def __init__(self, rules: Rules, answer: Callable[[int, int, bool, int | None], None]) -> None:
        super().__init__(rules)
        self._answer = answer

    def accessed(self, page: int, since: int, *, write: bool, version: int | None, cpu: int = 0) -> None:
        self._answer(page, cpu, write, version)
        super().accessed(page, since, write=write, version=version, cpu=cpu)


@dataclass
class Raced:
    """One order of a race: how it ended."""

    counts: Counts
    end: State


def race(
    program: Program,
    decider: Decides,
    ends: set[State],
    listeners: Sequence[Probe] = (),
    *,
    trace: Trace | None = None,
) -> Raced:
    """Run *program*, its last round as *decider* says. Raises what is found.

    The *trace* hears what each step touches, where the model is `traced`.
    """
    if not program.rounds:
        return Raced(Counts(0, 0), ())
    trace = trace or _Deaf()
    with in_race(traced=trace.wanted):
        if program.kind in LOCKS:
            return _race_turns(program, decider, ends, listeners, trace)
        run = _Raced(program, listeners, decider=decider, trace=trace, ends=ends)
        run.run()
    return Raced(Counts(run.operations, run.process.machine.engine.events, run.states), run.end)


def _race_turns(
    program: Program, decider: Decides, ends: set[State], listeners: Sequence[Probe], trace: Trace
) -> Raced:
    """The same for turns on a lock."""
    turns = [[each for each in its if isinstance(each, Turn)] for its in program.rounds[-1]]
    machine = _machine(program.machine, online=len(turns), listeners=[*listeners, trace])
    build = LOCKS[program.kind]

    def together(machine: Machine, bodies: Mapping[int, Body]) -> None:
        busy = [machine.cpus[number] for number in bodies if turns[number]]
        for cpu in busy:
            start(cpu, bodies[cpu.id])
        _step(machine, decider, trace, ())
        for cpu in busy:
            cpu.close_account()

    lock, told = build(machine), partial(_Told, trace)
    watch = follow(machine, lock, turns, exclusive=build in EXCLUSIVE, inside=told, together=together)
    end = (*watch.entries,)
    ends.add(end)
    return Raced(Counts(sum(map(len, turns)), machine.engine.events), end)


class _Told(Inside):
    """Who is inside, which steps that go in or out touch."""

    def __init__(self, trace: Trace, exclusive: bool) -> None:
        super().__init__(exclusive)
        self._trace = trace

    def enter(self, cpu: Cpu, write: bool) -> None:
        self._trace.touch("inside", True)
        super().enter(cpu, write)

    def leave(self, cpu: Cpu, write: bool) -> None:
        self._trace.touch("inside", True)
        super().leave(cpu, write)


def _step(machine: Machine, decider: Decides, trace: Trace, spaces: Sequence[Any]) -> None:
    """The threads that have been started go step by step to their end."""
    with listening(trace, machine, spaces) if trace.wanted else nullcontext():
        Order(machine, decider, trace).run()


class _Deaf(Trace):
    """Keeps nothing."""

    wanted = False

    def touch(self, key: Hashable, write: bool) -> None:
        """Nobody asks."""
