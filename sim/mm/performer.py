"""Who performs operations: an address space, or a kernel for what concerns no single process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, TypeAlias

from mypy_extensions import mypyc_attr

from sim.engine import Steps
from sim.errors import ModelError
from sim.hardware import Cpu
from sim.mm.operations import Operation

Handler: TypeAlias = Callable[[Any, Cpu, Any], Steps[Any]]
"""How one kind of operation is performed: takes the performer, the cpu and the record."""

Handlers: TypeAlias = Mapping[type[Operation], Handler]


@mypyc_attr(allow_interpreted_subclasses=True)
class Performer:
    """*operations* says what is offered and how; a subclass names its own and inherits the rest, save for
    those that it has *without* (`offered`)."""

    __slots__ = ()

    operations: ClassVar[Handlers] = {}
    without: ClassVar[frozenset[type[Operation]]] = frozenset()

    def refusal(self, operation: Operation) -> str:
        """What else there is to say of why *operation* has just been refused, for a message."""
        return ""

    def perform(self, cpu: Cpu, operation: Operation) -> Steps[Any]:
        """Do *operation* on *cpu*; the value is what its record says.

        Raises `ModelError` for one that is not offered (workloads that ask for it are refused before they
        run).
        """
        handler = offered(type(self)).get(type(operation))
        if handler is None:
            raise ModelError(f"{type(self).__name__} offers no {operation.name}")
        steps = handler(self, cpu, operation)
        return _told(self, cpu, operation, steps) if cpu.probe.hears_operations else steps


_OFFERED: Final[dict[type[Performer], Handlers]] = {}


def offered(performer: type[Performer]) -> Handlers:
    """What a *performer* offers: its own operations and those of its bases."""
    known = _OFFERED.get(performer)
    if known is None:
        inherited: dict[type[Operation], Handler] = {}
        for each in reversed(performer.__mro__):
            inherited |= each.__dict__.get("operations", {})
        known = {kind: handler for kind, handler in inherited.items() if kind not in performer.without}
        _OFFERED[performer] = known
    return known


def _told(performer: Performer, cpu: Cpu, operation: Operation, steps: Steps[Any]) -> Steps[Any]:
    """*steps*, with those who listen told of their begin and end."""
    cpu.probe.performs(performer, cpu, operation)
    cpu.probe.operation_begins(cpu, operation)
    value = yield from steps
    cpu.probe.operation_answers(cpu, operation, value)
    cpu.probe.operation_ends(cpu, operation)
    return value
