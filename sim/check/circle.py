"""Why a run cannot go on: who waits for whom, and the circle in it.

    thread -> lock -> its holders       a lock that is told, held by threads
    thread -> cpus that owe an answer   a call by IPI
    thread -> (nobody)                  a lock that nobody has, or a wake-up: it was lost

Timers do not stop for threads that wait for ever (RCU's tick does not): such a run ends when its budget does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.check.violation import Stuck
from sim.errors import BudgetExceeded, Deadlock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sim.check.lock_table import LockTable
    from sim.check.locks import Locks
    from sim.check.scene import Scene

_SHOWN = 12
"""Threads whose wait a message tells."""


def explained(error: Exception, scene: Scene, locks: Locks) -> Exception:
    """*error*, or one that says the same and why, where it is about threads that cannot go on."""
    if isinstance(error, Stuck) or not isinstance(error, Deadlock | BudgetExceeded):
        return error
    waits = dict(_waits(scene.locks, locks))
    if not waits:
        return error
    circle = _circle({task: others for task, (_, others) in waits.items()})
    lines = [text for text, _ in waits.values()]
    more = [f"and {len(lines) - _SHOWN} more wait"] if len(lines) > _SHOWN else []
    if circle:
        head = "the circle: " + " -> ".join(map(str, circle))
        lines = [waits[task][0] for task in circle[:-1]]
    else:
        lost = [text for text, others in waits.values() if not others]
        head = "no circle" + (": a wake-up was lost, or never meant" if lost else "")
        lines = lost or lines
    why = "; ".join([head, *lines[:_SHOWN], *more, *scene.circumstances()])
    if isinstance(error, Deadlock) or scene.is_still:
        return Stuck(f"every wait comes to an end (I15): deadlock: {why}; the engine says: {error}")
    return type(error)(f"{error}; {why}")


def _waits(table: LockTable, locks: Locks) -> Iterator[tuple[object, tuple[str, list[object]]]]:
    """Each thread that waits -> what it waits for, in words, and whom it waits for."""
    for task, wait in locks.waits.items():
        text = f"{task} waits for {wait.lock.name} ({wait.mode}): {table.who(wait.lock)}"
        if held := table.names(task):
            text += f"; it has {held}"
        yield task, (text, list(table.holders.get(wait.lock, ())))
    for call, left in locks.calls.items():
        task = call.sender.current
        if left and task not in locks.waits:
            text = f"{task} waits for the answer of {', '.join(map(str, left))} to its call"
            if held := table.names(task):
                text += f"; it has {held}"
            yield task, (text, [cpu.current for cpu in left])
    for task, reason in locks.asleep.items():
        if task not in locks.waits:
            yield task, (f"{task} sleeps for {reason}", [])


def _circle(waits: dict[object, list[object]]) -> list[object] | None:
    """A way from some thread back to itself, the thread at both ends."""
    done: set[object] = set()
    for start in waits:
        way: list[object] = []
        on_way: dict[object, int] = {}
        stack: list[tuple[object, int]] = [(start, 0)]
        while stack:
            task, depth = stack.pop()
            while len(way) > depth:
                on_way.pop(way.pop(), None)
            if task in on_way:
                return [*way[on_way[task] :], task]
            if task in done or task not in waits:
                done.add(task)
                continue
            on_way[task] = len(way)
            way.append(task)
            done.add(task)
            stack += [(other, len(way)) for other in waits[task]]
    return None
