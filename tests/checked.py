"""Runs under all checks of `sim.check`, on kernels that tests have changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kernels import BASE, Process
from machines import NS

from sim.check import Bounds, Checks, Stuck, Violation
from sim.engine import Activity, Probe, Steps
from sim.hardware import Cpu
from sim.mm import READ, Madvise, Mmap, Mprotect, Munmap, Touch

US = 1000 * NS
WAITING = Activity("lock: test")
Program = Callable[[Any, Cpu], Steps[None]]


def nothing(*_: Any, **__: Any) -> Steps[None]:
    return
    yield


def churn(space: Any, cpu: Cpu) -> Steps[None]:
    """Map, touch, protect, discard and unmap pages that nobody else has, and one that everybody has."""
    for turn in range(3):
        at = BASE + 4096 * cpu.id + 8 * turn
        yield from space.perform(cpu, Mmap(8, at))
        yield from space.perform(cpu, Touch(range(at, at + 8)))
        yield from space.perform(cpu, Touch((BASE - 2,)))
        yield from space.perform(cpu, Mprotect(at, 4, READ))
        yield from space.perform(cpu, Madvise(at + 4, 2, "dontneed"))
        yield from space.perform(cpu, Munmap(at, 6))


def checked(
    kind: str,
    program: Program = churn,
    *,
    cpus: int = 3,
    bounds: Bounds | None = None,
    touched: bool = True,
    **options: Any,
) -> Checks:
    """Run *program* on each cpu under all checks; two pages before `BASE` are mapped, and one *touched*.

    Raises what the checks raise.
    """
    checks = Checks("this test", bounds)
    process = Process(kind, cpus=cpus, listeners=checks.listeners, **options)
    try:
        process.do(("mmap", 2, BASE - 2), *[("touch", BASE - 2)] * touched)
        process.run({cpu.id: lambda cpu: program(process.space, cpu) for cpu in process.cpus})
    except Exception as error:
        raise checks.explain(error) from error
    return checks


def caught(*arguments: Any, **options: Any) -> str:
    """What the checks find in such a run."""
    with pytest.raises((Violation, Stuck)) as found:
        checked(*arguments, **options)
    return str(found.value)


class Silent(Probe):
    """Has what `Process` gives to a `Watch`."""

    machine: Any = None

    def __init__(self) -> None:
        self.owned: set[int] = set()
