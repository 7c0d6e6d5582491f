"""A mypy plugin that knows what `sim.engine.costs.AtClock` has.

`AtClock[S]` has the keys of the spec S, with each cost as an integer. This plugin gives an access its type
and refuses a key that S does not have. Without it (in a package that does not name it) every key is `Any`.
"""

from __future__ import annotations

from collections.abc import Callable

from mypy.nodes import Var
from mypy.plugin import AttributeContext, Plugin
from mypy.types import AnyType, Instance, Type, TypeOfAny, UnionType, get_proper_type

RESOLVED = "sim.engine.costs.AtClock."
COST = "sim.quantities.CycleCost"


class TypedCosts(Plugin):
    """Looks at attributes of `AtClock` and of nothing else."""

    def get_attribute_hook(self, fullname: str) -> Callable[[AttributeContext], Type] | None:
        if not fullname.startswith(RESOLVED):
            return None
        name = fullname.removeprefix(RESOLVED)
        return None if name.startswith("__") else lambda context: _type_of(context, name)


def plugin(version: str) -> type[Plugin]:
    """The entry point that mypy looks for."""
    return TypedCosts


def _type_of(context: AttributeContext, name: str) -> Type:
    resolved = get_proper_type(context.type)
    spec = get_proper_type(resolved.args[0]) if isinstance(resolved, Instance) and resolved.args else None
    if not isinstance(spec, Instance):
        return context.default_attr_type
    found = spec.type.get(name)
    if found is None or not isinstance(found.node, Var) or found.node.type is None:
        context.api.fail(f'"{spec.type.name}" has no cost "{name}"', context.context)
        return AnyType(TypeOfAny.from_error)
    return _in_ps(context, found.node.type)


def _in_ps(context: AttributeContext, written: Type) -> Type:
    written = get_proper_type(written)
    if isinstance(written, UnionType):
        return UnionType([_in_ps(context, item) for item in written.items])
    if isinstance(written, Instance) and written.type.fullname == COST:
        return context.api.named_generic_type("builtins.int", [])
    return written
