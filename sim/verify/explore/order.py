"""Runs a race: at each step a decider says who goes on, whatever the clock says.

In a run that is timed, ties are rare: what a step costs decides who is next. Here everybody who could go on
is ready. Who is passed over is late: the engine's time goes on, and what he has lost is put on his account as
an injected delay. So each order that is tried is a timed run of the model, in which threads and interrupts
have been delayed as a hypervisor or a longer handler would delay them. What stays timed are timers: one that
is due goes off before anything later does.

An *actor* is a thread, `cpu 1`, or something that was put off, such as an interrupt on its way: it has one
step, and is named after who has caused it, `cpu 0/2` for the second one by cpu 0.

Lines are in every cache at once (`LineHere`): an access takes effect where its thread goes on, one at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from sim.engine import Thread
from sim.engine.queues import Background
from sim.engine.schedule import Entry
from sim.engine.thread import Start
from sim.hardware import Machine
from sim.verify.explore.traces import Touched, Trace

PATIENCE = 150
"""Steps that a thread goes on for while others are ready: one that looks again and again for what another has
to do would go on for ever. It then rests until the others wait, have ended, or have gone on for as long.
After so many interrupts and the like in a row a thread is next: a timer may set itself again and again."""

LONGEST = 20_000
"""Events of a race that must have gone round in circles."""


@dataclass(slots=True)
class Step:
    """One decision: who was *ready*, who of them went on, and what that *touched*."""

    actor: str
    ready: tuple[str, ...]
    touched: Touched
    caused: list[str] = field(default_factory=list)
    """The actors that it has put off."""


class Decides(Protocol):
    """Who goes on."""

    def next(self, number: int, ready: Sequence[str], last: str | None) -> str:
        """Which of *ready*, one or more, takes decision *number*; *last* is the thread of the one before."""

    def done(self, step: Step) -> None:
        """What came of it."""


def plainly(ready: Sequence[str], last: str | None) -> str:
    """Who goes on where nobody says anything: whoever has been at it, or the first."""
    return last if last is not None and last in ready else ready[0]


class Order:
    """Runs the threads of *machine*, which have been started, to their end, as *decider* says."""

    def __init__(self, machine: Machine, decider: Decides, trace: Trace) -> None:
        self._engine = machine.engine
        self._inject = machine.engine.on_injected_delay
        self._cpus = machine.cpus
        self._decider = decider
        self._trace = trace
        self._names: dict[int, tuple[str, object]] = {}
        """What was put off, by the entry's key: keys count entries."""
        self._serial: dict[str, int] = {}
        self.steps = 0

    def run(self) -> None:
        """Raises what is found, `Deadlock` and `BudgetExceeded` included."""
        engine, decider, trace = self._engine, self._decider, self._trace
        queue = engine.entries
        limit = engine.events + LONGEST
        engine.max_events = min(engine.max_events, limit)
        threads = {cpu.thread: f"cpu {cpu.id}" for cpu in self._cpus if cpu.thread is not None}
        last: str | None = None
        patience = _Patience()
        ready = self._ready(threads, "start", [])
        while ready:
            everybody = ready.keys()
            names = patience.left(tuple(ready) if len(ready) == 1 else tuple(sorted(ready, key=_rank)))
            chosen = decider.next(self.steps, names, last)
            patience.sees(chosen)
            thread = "/" not in chosen  # after an interrupt the last one goes on
            entry = ready[chosen]
            queue.remove(entry)
            at = max(engine.now, entry[0])
            trace.begins()
            engine.happen(entry, at)
            step = Step(chosen, names, trace.touched)
            ready = self._ready(threads, chosen, step.caused)
            if thread and chosen not in ready:
                trace.touch(("wait", chosen), True)
            for name in ready:
                if name not in everybody:
                    trace.touch(("wait", name), True)
            self.steps += 1
            decider.done(step)
            last = chosen if thread else last
        engine.run()  # nothing is left: it tells who waits

    def _ready(self, threads: dict[Thread, str], by: str, caused: list[str]) -> dict[str, Entry]:
        """Who may go on. Timers that are due have gone off, and what is no decision has been done."""
        engine = self._engine
        queue = engine.entries
        while True:
            ready: dict[str, Entry] = {}
            timers: list[Entry] = []
            now = engine.now
            again = False
            for entry in list(queue):
                at, priority, key, item = entry
                if type(item) is Thread:
                    if item.stolen:
                        queue.remove(entry)
                        entry = (at + item.stolen, priority, key, item)
                        item.stolen = 0
                        queue.append(entry)
                        at = entry[0]
                    if at < now:
                        queue.remove(entry)
                        entry = (now, priority, key, item)
                        queue.append(entry)
                        self._inject(item, now - at)
                    ready[threads[item]] = entry
                elif type(item) is Background:
                    timers.append(entry)
                elif type(item) is Start or _tells_of_an_end(item):
                    queue.remove(entry)
                    engine.happen(entry, now)
                    again = True
                    break
                else:
                    ready[self._name(entry, by, caused)] = entry
            if again:
                continue
            if not ready and not timers:
                return ready
            first = min((entry[0] for entry in ready.values()), default=None)
            timers.sort()
            if timers and (first is None or timers[0][0] <= max(first, now)):
                queue.remove(timers[0])
                engine.happen(timers[0], max(now, timers[0][0]))
                continue
            return ready

    def _name(self, entry: Entry, by: str, caused: list[str]) -> str:
        known = self._names.get(entry[2])
        if known is not None:
            return known[0]
        number = self._serial[by] = self._serial.get(by, 0) + 1
        name = f"{by}/{number}"
        self._names[entry[2]] = name, entry[3]
        caused.append(name)
        return name


class _Patience:
    """Who has gone on for too long."""

    def __init__(self) -> None:
        self._last = ""
        self._alone = self._interrupts = 0
        self._resting: tuple[str, ...] = ()

    def left(self, ready: tuple[str, ...]) -> tuple[str, ...]:
        """Those of *ready* who may go on: one at least."""
        if self._alone > PATIENCE:
            self._resting, self._alone = (*self._resting, self._last), 0
        if self._interrupts > PATIENCE:
            self._resting = ()
            return tuple(each for each in ready if "/" not in each) or ready
        if awake := tuple(each for each in ready if each not in self._resting):
            return awake
        self._resting = ()
        return ready

    def sees(self, chosen: str) -> None:
        """*chosen* goes on."""
        if "/" in chosen:
            self._interrupts += 1
            return
        self._interrupts = 0
        self._alone = self._alone + 1 if chosen == self._last else 0
        self._last = chosen


def _tells_of_an_end(item: Any) -> bool:
    return isinstance(item, partial) and getattr(item.func, "__name__", "") == "_fire"


def _rank(name: str) -> tuple[int, str]:
    """Threads before what they have put off."""
    return name.count("/"), name
