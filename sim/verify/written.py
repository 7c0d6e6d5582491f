"""Operations as files write them: `munmap: {at: 1048576, pages: 1}`, and back.

A key is what the operation is called everywhere (`Operation.name`); what has its default is left out. Pages
of a touch are a list, ranges are [first, behind the last], rights are letters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields
from typing import Any, get_args

from sim.mm import EXECUTE, NOTHING, READ, WRITE, Operation
from sim.mm.operations import Advice
from sim.verify.drawing import DRAWN
from sim.verify.locks import Turn
from sim.verify.programs import InHeap, InLast, OnFile, Onto, Reclaim

_RIGHTS = {"r": READ, "w": WRITE, "x": EXECUTE}
_WRAPPERS: tuple[type[Operation], ...] = (InLast, InHeap, OnFile)

_KNOWN: Sequence[type[Operation]] = (*DRAWN, *_WRAPPERS, Onto, Reclaim, Turn)
KINDS: Mapping[str, type[Operation]] = {each.name: each for each in _KNOWN}
"""What may stand in a program, by its key."""


def to_plain(operation: Any) -> dict[str, Any]:
    """*operation* as a file has it."""
    kind = type(operation)
    return {
        kind.name: {
            each.name: _plain(each.name, value)
            for each in fields(kind)
            if each.name != "file"
            and ((value := getattr(operation, each.name)) != each.default or each.default is MISSING)
        }
    }


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Operation):
        return to_plain(value)
    if name == "rights":
        return "".join(letter for letter, right in _RIGHTS.items() if value & right) or "none"
    if name == "parts":
        return [[part.start, part.stop] for part in value]
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def from_plain(tree: object) -> Operation:
    """The operation that *tree* says. Raises `ValueError`, in words for people."""
    if not isinstance(tree, Mapping) or len(tree) != 1:
        raise ValueError("must be one operation: a mapping with one key, such as munmap: {at: 16, pages: 1}")
    ((key, values),) = tree.items()
    if key not in KINDS:
        raise ValueError(f"{key!r} is no operation of a program")
    if not isinstance(values, Mapping):
        raise ValueError(f"what {key} is about must be a mapping")
    known = {each.name: each for each in fields(KINDS[key]) if each.name != "file"}
    for name in values:
        if name not in known:
            raise ValueError(f"{key} has no {name!r}, but {', '.join(known) or 'nothing'}")
    for name, each in known.items():
        if each.default is MISSING and name not in values:
            raise ValueError(f"{key} lacks {name!r}")
    read = {name: _read(key, known[name], value) for name, value in values.items()}
    if any(each.name == "file" for each in fields(KINDS[key])):
        read["file"] = None  # which one it is `on file` says
    made = KINDS[key](**read)
    if isinstance(made, InLast | InHeap | OnFile) and isinstance(made.operation, InLast | InHeap | OnFile):
        raise ValueError(f"{key} is about a plain operation")
    return made


def _read(key: str, about: Field[Any], value: Any) -> Any:
    name = f"{key}: {about.name}"
    if about.name == "operation":
        return from_plain(value)
    if about.name == "rights":
        if value == "none":
            return NOTHING
        if not isinstance(value, str) or not value or set(value) - set(_RIGHTS):
            raise ValueError(f"{name} must be none, or some of the letters r, w and x")
        return sum(_RIGHTS[letter] for letter in set(value))
    if about.name == "parts":
        return tuple(range(*_numbers(name, part, exactly=2)) for part in _list(name, value))
    if key == "touch" and about.name == "pages":
        return _numbers(name, value)
    if about.name == "advice":
        if value not in get_args(Advice):
            raise ValueError(f"{name} must be one of {', '.join(get_args(Advice))}")
        return value
    kinds = {"str": str, "bool": bool}
    wanted = kinds.get(str(about.type), int)
    if value is None and "None" in str(about.type):
        return None
    if type(value) is not wanted:
        words = {str: "text", bool: "true or false", int: "a whole number"}
        raise ValueError(f"{name} must be {words[wanted]}")
    return value


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{name} must be a list")
    return value


def _numbers(name: str, value: Any, exactly: int | None = None) -> list[int]:
    numbers = _list(name, value)
    if any(type(each) is not int for each in numbers) or (exactly and len(numbers) != exactly):
        raise ValueError(f"{name} must have {exactly or 'only'} whole numbers")
    return numbers
