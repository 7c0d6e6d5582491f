"""The smallest program that still fails: rounds, threads' operations and pages are left out while it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from time import monotonic
from typing import Any

from sim.mm import ExmapCall, Operation, ProcessMadvise, Touch
from sim.verify.checking import check
from sim.verify.programs import InHeap, InLast, OnFile, Program

Check = Callable[[Program], object]
"""Runs a program, and raises what is wrong with it."""


def shrunk(
    program: Program, budget: int = 600, *, checked: Check = check, until: float | None = None
) -> Program:
    """*program*, which fails, with as little as possible left in it, after *budget* runs at most, or when the
    clock (`time.monotonic`) shows *until*."""
    kind = type(failure(program, checked))
    tried = 0
    smaller = True
    while smaller:
        smaller = False
        for candidate in _smaller(program):
            tried += 1
            if tried > budget or (until is not None and monotonic() > until):
                return program
            if type(failure(candidate, checked)) is kind:
                program, smaller = candidate, True
                break
    return program


def failure(program: Program, checked: Check = check) -> Exception | None:
    """What is wrong with *program*, if something is."""
    try:
        checked(program)
    except Exception as error:
        return error
    return None


def _smaller(program: Program) -> Iterator[Program]:
    """Programs with one thing less, those with much less first."""
    rounds = [[list(operations) for operations in threads] for threads in program.rounds]

    def with_round(index: int, *threads: Any) -> Program:
        return replace(program, rounds=[*rounds[:index], *threads, *rounds[index + 1 :]])

    for index in range(len(rounds)):
        yield with_round(index)
    for index, threads in enumerate(rounds):
        for thread, operations in enumerate(threads):
            size = len(operations)
            for length in (size, size // 2, 1):
                for first in range(0, size - length + 1 if length else 0, max(1, length)):
                    left = [*operations[:first], *operations[first + length :]]
                    yield with_round(index, [*threads[:thread], left, *threads[thread + 1 :]])
    if all(not operations for threads in rounds for operations in threads[-1:]) and program.threads > 1:
        yield replace(program, rounds=[threads[: program.threads - 1] for threads in rounds])
    if program.order:
        for number in range(len(program.order)):
            yield replace(program, order=[*program.order[:number], *program.order[number + 1 :]])
    for index, threads in enumerate(rounds):
        for thread, operations in enumerate(threads):
            for place, operation in enumerate(operations):
                for less in _less(operation):
                    left = [*operations[:place], less, *operations[place + 1 :]]
                    yield with_round(index, [*threads[:thread], left, *threads[thread + 1 :]])
    if program.changes or program.machine:
        yield replace(program, changes={}, machine={})
    if program.delays:
        yield replace(program, delays=0.0)
    if program.ties != "fifo":
        yield replace(program, ties="fifo")


def _less(operation: Any) -> Iterator[Operation]:
    if isinstance(operation, InLast | OnFile | InHeap):
        for less in _less(operation.operation):
            yield replace(operation, operation=less)
    elif isinstance(operation, Touch):
        if len(operation.pages) > 1:
            yield replace(operation, pages=operation.pages[:1])
            yield replace(operation, pages=operation.pages[1:])
    elif isinstance(operation, ProcessMadvise | ExmapCall):
        for index in range(len(operation.parts)):
            yield replace(operation, parts=[*operation.parts[:index], *operation.parts[index + 1 :]])
    elif getattr(operation, "pages", 0) > 1 and 0 < (getattr(operation, "at", None) or 0) < 1 << 34:
        half = operation.pages // 2
        yield replace(operation, pages=half)
        yield replace(operation, at=operation.at + half, pages=operation.pages - half)
