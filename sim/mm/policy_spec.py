"""How files name the node that memory comes from."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, NonNegativeInt

from sim.quantities import Spec

FIRST_TOUCH: Final = "first-touch"


class Bind(Spec):
    """All memory from node *bind*."""

    bind: NonNegativeInt
    """The node, from 0 on."""


def _one_of_three(value: Any) -> Any:
    if isinstance(value, Bind) or value in ("first-touch", "interleave"):
        return value
    node = value.get("bind") if isinstance(value, dict) and len(value) == 1 else None
    if type(node) is not int or node < 0:
        raise ValueError("must be first-touch, interleave or {bind: NODE}, with a node from 0 on")
    return Bind(bind=node)


MemoryPolicy = Annotated[Literal["first-touch", "interleave"] | Bind, BeforeValidator(_one_of_three)]
"""How a workload file names a policy: the toucher's own node, one node after another, or one node for all."""
