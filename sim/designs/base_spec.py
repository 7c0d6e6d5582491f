"""The part that all design files share."""

from __future__ import annotations

from typing import Any

from pydantic_core import PydanticCustomError, core_schema

from sim.errors import InputError
from sim.hardware import MachineSpec
from sim.plugins import Registry
from sim.quantities import Release, Spec


class OneOf:
    """The name of a strategy, `Annotated[str, OneOf(registry)]`: one on board or of an outside package."""

    def __init__(self, registry: Registry[Any]) -> None:
        self.registry = registry

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self._known)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": "string", "enum": self.registry.names()}

    def _known(self, name: object) -> str:
        names = self.registry.names()
        if not isinstance(name, str) or name not in names:
            expected = ", ".join(map(repr, names))
            raise PydanticCustomError("literal_error", "should be one of {expected}", {"expected": expected})
        try:
            self.registry[name]
        except InputError as error:
            raise ValueError(error.faults[0].message) from None
        return name


class DesignSpec(Spec):
    """The part that all design files share. *family* names the package that builds the design."""

    name: str
    """The file's name without `.yaml`."""
    title: str
    """One line for lists and figures."""
    family: str
    """The package that builds the design, such as `linux` or `cortenmm`."""
    release: Release | None = None
    """Release of Linux whose mitigations it takes. Absent: all that the machine needs."""
    deepest_idle: str | None = None
    """The deepest idle state that it was built to use, by its name in the machine's `idle_states`, where that
    has one of that name. Absent: all of them."""
    virtual_ipis: bool = False
    """In a guest: whether its hypervisor lets the processor send interrupts between virtual cpus by itself,
    where it can (`interrupts.virtual_icr_write` of the machine)."""

    @property
    def swap_pages(self) -> int:
        """Pages that fit somewhere else where memory is full."""
        return 0

    def refuses(self, machine: MachineSpec) -> str | None:
        """Why the design cannot run on *machine*, if so."""
        return None
