"""A mutant: a bug that is put into the running model, by name, and taken out again.

An edit replaces a piece of a function's source and gives the function the code of the result, so that all who
call it have the bug, from wherever they know it. Nothing is written to a file, and `Mutant.applied` takes all
of it back. The piece must be there exactly once: a model that has changed says so.

Only the model as it is written can be edited; compiled modules cannot (`CORTENSIM_COMPILED=0`).
"""

from __future__ import annotations
import __future__

import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import CodeType, FunctionType
from typing import Any

from sim.errors import ModelError
from sim.verify.programs import Program


@dataclass(frozen=True)
class Edit:
    """In *function*, *new* stands where *old* stands."""

    function: Callable[..., Any]
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A bug of one of *designs*.

    *breaks* is what it does wrong. *resembles* is a bug that there has been, with its source. It is looked
    for by *programs* that are written down, where random ones seldom come to it, then by *scenarios*, or by
    programs of all modes if there are none; *huge*: by programs on huge pages.
    """

    name: str
    breaks: str
    edits: Sequence[Edit]
    designs: Sequence[str] = ("linux",)
    resembles: str | None = None
    scenarios: Sequence[str] = ()
    programs: Sequence[Program] = ()
    huge: bool = False
    equivalent: str | None = None
    """Why nothing that can be seen is wrong with it, if it is only slower."""

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the bug inside."""
        edits: dict[FunctionType, list[Edit]] = {}
        for edit in self.edits:
            edits.setdefault(plain(edit.function), []).append(edit)
        before = {function: function.__code__ for function in edits}
        after = {function: _code(function, its) for function, its in edits.items()}
        try:
            for function, code in after.items():
                function.__code__ = code
            yield
        finally:
            for function, code in before.items():
                function.__code__ = code


def plain(function: Callable[..., Any]) -> FunctionType:
    """The function below a property or a method. Raises `ModelError` for one that is compiled."""
    below: Any = function
    if isinstance(below, property):
        below = below.fget
    below = getattr(below, "__func__", below)
    if not isinstance(below, FunctionType):
        raise ModelError(f"{function!r} is not as it was written, so no mutant can be made of it")
    return below


@cache
def source_of(function: FunctionType) -> str:
    """The source of *function*, as it stands in its file."""
    return textwrap.dedent(inspect.getsource(function.__code__))


def _code(function: FunctionType, edits: Sequence[Edit]) -> CodeType:
    edited = source_of(function)
    for each in edits:
        found = edited.count(each.old)
        if found != 1:
            raise ModelError(f"{function.__qualname__} has {each.old!r} {found} times, not once")
        edited = edited.replace(each.old, each.new)
    name = function.__name__
    if function.__code__.co_freevars:  # it names its class, as super() does
        edited = f"class _Of:\n{textwrap.indent(edited, '    ')}"
        name = f"_Of.{name}"
    flags = __future__.annotations.compiler_flag
    compiled = compile(edited, f"<mutant of {function.__qualname__}>", "exec", flags, dont_inherit=True)
    code: CodeType = compiled
    for part in name.split("."):
        code = next(each for each in code.co_consts if isinstance(each, CodeType) and each.co_name == part)
    return code.replace(co_qualname=function.__code__.co_qualname)
