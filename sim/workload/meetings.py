"""Threads that wait for each other, played through without time: does everybody come to wait?

Only what threads wait for is looked at: tokens of channels, barriers, turns. Each thread in turn goes as far
as it can. Where everybody is stuck a run would deadlock, at least if its threads happen to come in that
order. (Locks are not held while a thread waits: `protocol` sees to that.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sim.errors import Fault
from sim.workload.draws import CountDraw

if TYPE_CHECKING:
    from sim.workload.plan import WorkloadPlan
    from sim.workload.step_spec import Step

MOST_MOVES = 20_000
"""Then it is over: who has not come to a stop by then repeats himself."""


class Move(NamedTuple):
    """Something that other threads wait for, or that waits for them, and its key in the file."""

    kind: str
    name: str
    place: str


class _ByChanceError(Exception):
    """Nobody knows how often a thread waits."""


def stuck(plan: WorkloadPlan, roles: Sequence[int]) -> Fault | None:
    """Where the threads, whose roles have these numbers, come to wait for each other for ever, if so."""
    try:
        bodies = [list(_moves(part.role.steps, part.steps)) for part in plan.parts]
    except _ByChanceError:
        return None
    used = {number for number in roles if any(move.kind in ("send", "receive") for move in bodies[number])}
    if not used:  # barriers and turns alone are for `protocol`
        return None
    return _Game(plan, [bodies[number] for number in roles]).play()


def _moves(steps: Sequence[Step], key: str) -> Iterator[Move]:
    for index, step in enumerate(steps):
        place = f"{key}[{index}]"
        if step.kind in ("send", "receive", "turn"):
            name = step.send or step.receive or step.turn
            assert name is not None
            yield Move(step.kind, name, f"{place}.{step.kind}")
        elif step.barrier is not None or step.meet:
            yield Move("barrier", "", f"{place}.{step.kind}")
        inside = [move for inner, part in step.parts.items() for move in _moves(part, f"{place}.{inner}")]
        if inside and (step.maybe or (step.repeat and isinstance(step.repeat.times, CountDraw))):
            raise _ByChanceError
        times = step.repeat.times if step.repeat and isinstance(step.repeat.times, int) else 1
        for _ in range(min(times, MOST_MOVES)):
            yield from inside


class _Game:
    def __init__(self, plan: WorkloadPlan, bodies: Sequence[Sequence[Move]]) -> None:
        self._bodies = bodies
        self._rounds = plan.round if plan.window is None else None
        self._channels = plan.channels
        self._sent: Counter[tuple[str, int]] = Counter()
        """Tokens that have been sent and not received, by channel and group of threads."""
        self._turn = dict.fromkeys(plan.lines, 0)
        self._at = [0] * len(bodies)
        """How many moves each thread has made."""

    def play(self) -> Fault | None:
        moves = 0
        while moves < MOST_MOVES:
            before = moves
            for thread in range(len(self._bodies)):
                while moves < MOST_MOVES and self._can(thread):
                    self._make(thread)
                    moves += 1
            waiting = [thread for thread in range(len(self._bodies)) if self._next(thread) is not None]
            if moves == before and waiting and all(self._meets(thread) for thread in waiting):
                for thread in waiting:
                    self._at[thread] += 1
                moves += len(waiting)
            elif moves == before:
                return self._fault(waiting)
        return None

    def _next(self, thread: int) -> Move | None:
        """What *thread* does next; None for one that waits for nobody or has ended."""
        body, at = self._bodies[thread], self._at[thread]
        if not body or (self._rounds is not None and at >= self._rounds * len(body)):
            return None
        return body[at % len(body)]

    def _meets(self, thread: int) -> bool:
        move = self._next(thread)
        return move is not None and move.kind == "barrier"

    def _can(self, thread: int) -> bool:
        move = self._next(thread)
        if move is None or move.kind == "barrier":
            return False
        if move.kind == "turn":
            return self._turn[move.name] == thread
        channel = self._channels[move.name]
        tokens = channel.tokens + self._sent[move.name, channel.group(thread)]
        if move.kind == "receive":
            return tokens > 0
        return channel.capacity is None or tokens < channel.capacity

    def _make(self, thread: int) -> None:
        move = self._next(thread)
        assert move is not None
        self._at[thread] += 1
        if move.kind == "turn":
            self._turn[move.name] = self._after(thread)
        else:
            group = self._channels[move.name].group(thread)
            self._sent[move.name, group] += 1 if move.kind == "send" else -1

    def _after(self, thread: int) -> int:
        """Whose turn it is after *thread*: the next one's that has not ended."""
        threads = len(self._bodies)
        ring = ((thread + step) % threads for step in range(1, threads + 1))
        return next((other for other in ring if self._next(other) is not None), thread)

    def _fault(self, waiting: Sequence[int]) -> Fault | None:
        """All of *waiting* wait; nobody else is left to come."""
        for thread in waiting:
            move = self._next(thread)
            assert move is not None
            if move.kind in ("send", "receive"):
                what = f"a token of {move.name}" if move.kind == "receive" else f"room in {move.name}"
                message = f"everybody comes to wait for others, thread {thread} for {what}"
                return Fault(message, key=move.place, allowed="as many tokens sent as received")
        return None
