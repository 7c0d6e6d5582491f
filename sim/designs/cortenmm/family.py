"""Where a private page may be: the spaces that fork has made of one program (SOSP'25, section 4.5).

A page's descriptor says the family and the page at which it is mapped. So a fork adds one link, whatever is
mapped, and a walk from a page may come to spaces that do not have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.engine import Activity
from sim.hardware import Cpu, Machine
from sim.sync import QueuedSpinLock, QueueNodes

if TYPE_CHECKING:
    from sim.designs.cortenmm.mm import CortenMm

LOCK_FAMILY: Final = Activity("lock: reverse map")


class Family:
    """The *spaces* and their lock."""

    __slots__ = ("lock", "spaces")

    def __init__(self, machine: Machine, nodes: QueueNodes, cpu: Cpu, space: CortenMm) -> None:
        line = machine.line("family of spaces", cpu.socket, owner=cpu.id)
        self.lock = QueuedSpinLock(nodes, line, LOCK_FAMILY)
        self.spaces: dict[CortenMm, None] = {space: None}
