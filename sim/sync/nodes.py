"""Queue nodes: the line that a cpu spins on while it waits in a queue lock."""

from __future__ import annotations

from sim.hardware import CacheLine, Machine


class QueueNodes:
    """One node line a cpu, in memory of the cpu's own socket, as Linux's per-cpu `qnodes` and osq nodes are.

    A cpu waits in one queue at a time, so one line is enough.
    """

    __slots__ = ("lines",)

    def __init__(self, machine: Machine, name: str) -> None:
        self.lines: list[CacheLine] = [
            machine.line(f"{name} node of {cpu}", cpu.socket, owner=cpu.id) for cpu in machine.cpus
        ]
