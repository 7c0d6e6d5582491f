"""A mypy plugin that finds steps which are made and not driven.

Calling a generator function does nothing until somebody drives the generator. A forgotten `yield from` is
therefore a step of the model that silently does not happen. mypy knows what each call returns; where that is
a generator (`Steps[T]`) this plugin refuses a call that stands where nobody can drive it any more:

- as a statement of its own: `lock.acquire(cpu)`;
- as a condition, which is always true: `if lock.try_read(cpu):`;
- behind `yield` without `from`;
- in a name of the function that is never read: `taken = lock.try_read(cpu)`.

It is part of every `mypy -p sim` (see `plugins` in pyproject.toml); a package of one's own names it in the
same way. It cannot see a call whose type mypy does not know (`Any`), or of a function kept in a variable.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from mypy.errorcodes import ErrorCode
from mypy.plugin import FunctionContext, MethodContext, Plugin
from mypy.types import Instance, Type, UnionType, get_proper_type

GENERATOR = "typing.Generator"
LOUD = ErrorCode("loud-steps", "Steps are made and not driven", "General")

_NOT_OURS = ("builtins.", "typing.", "collections.", "<")

Context = FunctionContext | MethodContext


class LoudSteps(Plugin):
    """Looks at every call that somebody wrote (mypy itself calls `__iter__` for a loop)."""

    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        return None if fullname.startswith(_NOT_OURS) else _look

    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        return None if fullname.startswith(_NOT_OURS) else _look


def plugin(version: str) -> type[Plugin]:
    """The entry point that mypy looks for."""
    return LoudSteps


def _look(context: Context) -> Type:
    kind = context.default_return_type
    if _is_generator(kind):
        path = getattr(context.api, "path", "")
        call = context.context
        message = _undriven(Path(path).resolve()).get((call.line, call.column))
        if message is not None:
            context.api.fail(message, call, code=LOUD)
    return kind


def _is_generator(kind: Type) -> bool:
    proper = get_proper_type(kind)
    if isinstance(proper, UnionType):
        return any(_is_generator(item) for item in proper.items)
    return isinstance(proper, Instance) and proper.type.fullname == GENERATOR


@cache
def _undriven(path: Path) -> dict[tuple[int, int], str]:
    """(line, column) of the calls in a file whose value nobody can drive -> what is wrong."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError):
        return {}
    return {(call.lineno, call.col_offset): message for call, message in _places(tree)}


def _places(tree: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            yield node.value, "Steps are made and not driven: put `yield from` before them"
        elif isinstance(node, ast.Yield) and node.value is not None:
            yield node.value, "`yield` hands steps out and does not drive them: use `yield from`"
        elif isinstance(node, ast.FunctionDef):
            yield from _kept(node)
        for condition in _conditions(node):
            yield condition, "Steps are always true: drive them with `yield from` and ask for their value"


def _conditions(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.If | ast.While | ast.IfExp | ast.Assert):
        return [node.test]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return [node.operand]
    return list(node.values) if isinstance(node, ast.BoolOp) else []


def _kept(function: ast.FunctionDef) -> Iterator[tuple[ast.expr, str]]:
    """What is put into names that the function never reads."""
    names = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
    read = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id not in read:
                    yield node.value, f"Steps are kept in `{target.id}`, which nobody reads"
