"""A typed model's refusal, told to the user: what pydantic found, where in which file, and what would do."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from sim.errors import Fault, RuleError, nearest
from sim.files.document import Document, KeyPath, parse_path

MISSING = "required key is missing"

_WORDS = {
    "int": "must be a whole number",
    "float": "must be a number",
    "decimal": "must be a number",
    "string": "must be text",
    "bool": "must be true or false",
    "list": "must be a list",
    "tuple": "must be a list",
    "set": "must be a list",
    "dict": "must be a mapping",
    "mapping": "must be a mapping",
    "model": "must be a mapping",
    "finite": "must be a finite number",
}
_BOUNDS = {
    "greater_than": ("too small", "more than", "gt"),
    "greater_than_equal": ("too small", "at least", "ge"),
    "less_than": ("too large", "less than", "lt"),
    "less_than_equal": ("too large", "at most", "le"),
}


def explain(error: ValidationError, model: type[BaseModel], document: Document) -> list[Fault]:
    """One fault for each thing that *model* refuses about *document*."""
    details = error.errors(include_url=False)
    return [_fault(detail, model, document) for detail in details if not _follows(detail)]


def distinct(faults: Iterable[Fault]) -> list[Fault]:
    """The faults in the order of their files, less those about a place that an earlier one explains."""
    kept: dict[object, Fault] = {}
    for fault in faults:
        place = (fault.file, fault.line, fault.column)
        about = fault.key if fault.message == MISSING else None
        kept.setdefault((place, about) if fault.line else (place, fault.key, fault.message), fault)
    files = list(dict.fromkeys(fault.file for fault in kept.values()))
    return sorted(kept.values(), key=lambda f: (files.index(f.file), f.line or 0, f.column or 0))


def accepts(model: type[BaseModel], path: Sequence[str]) -> bool:
    """Whether a file of *model* may have something at *path*."""
    candidates: list[Any] = [model]
    for part in path:
        candidates = _descend(candidates, int(part) if part.isdecimal() else part)
        if Any in candidates:
            return True
        if not candidates:
            return False
    return True


def _fault(detail: Any, model: type[BaseModel], document: Document) -> Fault:
    kind: str = detail["type"]
    loc: tuple[str | int, ...] = detail["loc"]
    context: Mapping[str, Any] = detail.get("ctx", {})
    path = _place(document, loc, detail["input"])
    value = _shown(detail["input"])

    if kind == "missing":
        return document.fault((*_place(document, loc[:-1], detail["input"]), loc[-1]), MISSING)
    if kind == "extra_forbidden":
        return _stranger(document, path, "unknown key", None, _fields(model, loc[:-1]), str(loc[-1]))
    if kind in ("literal_error", "enum"):
        return _stranger(document, path, "unknown value", value, _choices(context["expected"]), str(value))
    if kind == "union_tag_invalid":
        key, tag = str(context["discriminator"]).strip("'"), str(context["tag"])
        return _stranger(
            document, (*path, key), f"unknown {key}", tag, _choices(context["expected_tags"]), tag
        )
    if kind == "union_tag_not_found":
        return document.fault((*path, str(context["discriminator"]).strip("'")), MISSING)
    if kind in ("value_error", "assertion_error"):
        if isinstance(error := context["error"], RuleError):
            return _misfit(error, document, path)
        whole = isinstance(detail["input"], dict)  # a rule about several values; which, its words say
        return document.fault(path, str(context["error"]), value=None if whole else value)
    if kind in _BOUNDS:
        message, words, bound = _BOUNDS[kind]
        return document.fault(path, message, value=value, allowed=f"{words} {context[bound]}")
    if kind == "string_pattern_mismatch":
        return document.fault(
            path, "not a valid name", value=value, allowed=f"text like {context['pattern']}"
        )
    if kind in ("too_short", "string_too_short"):
        return document.fault(path, "must not be empty", value=value)
    stem = kind.split("_")[0]
    if kind.endswith(("_type", "_parsing", "_from_float", "_number")) and stem in _WORDS:
        return document.fault(path, _WORDS[stem], value=value)
    return document.fault(path, str(detail["msg"]), value=value)


def _misfit(error: RuleError, document: Document, path: KeyPath) -> Fault:
    """A rule about several values, at the one that was most probably just written.

    That is one from the command line, else one in the file itself, else the rule's first.
    """
    found = {document.locate((*path, *parse_path(key))): allowed for key, allowed in error.allowed.items()}
    written = [key for key in found if key in document.positions] or list(found)
    recent = [key for key in written if document.position(key).line is None]
    recent += [key for key in written if document.position(key).file == document.start.file]
    place = (recent + written)[0]
    return document.fault(place, str(error), value=document.at(place), allowed=found[place])


def _stranger(
    document: Document, path: KeyPath, message: str, value: object, known: Sequence[str], word: str
) -> Fault:
    """A word that is none of the *known* ones; with no *value* it is a key."""
    return document.fault(
        path,
        message,
        at_key=value is None,
        value=value,
        allowed=", ".join(known),
        suggestion=nearest(word, known),
    )


def _follows(detail: Any) -> bool:
    """Whether a list is called too short only because its items were refused, with faults of their own."""
    return bool(detail["type"] == "too_short" and len(detail["input"]) > detail["ctx"]["actual_length"])


def _place(document: Document, loc: KeyPath, value: Any) -> KeyPath:
    """The path of a refused value; one that the model put together from parts is where its part stands."""
    tails = [
        p for p in document.positions if loc and p[-len(loc) :] == loc and _at(document.tree, p) == value
    ]
    return min(tails, key=len) if tails else _path(document.tree, loc)


def _at(tree: Any, path: KeyPath) -> Any:
    for part in path:
        tree = tree[part]
    return tree


def _path(tree: Any, loc: Sequence[str | int]) -> KeyPath:
    """The part of pydantic's location that is in the file: without union tags and validator names."""
    path: KeyPath = ()
    for part in loc:
        if isinstance(tree, dict) and str(part) in tree:
            path, tree = (*path, str(part)), tree[str(part)]
        elif isinstance(tree, list) and isinstance(part, int) and part < len(tree):
            path, tree = (*path, part), tree[part]
    return path


def _fields(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """The keys allowed in the mapping at *loc*, by *model* or by one beside it that its validator tried."""
    beside = [thing for thing in vars(sys.modules[model.__module__]).values() if _is_model(thing)]
    for start in (model, *beside):
        candidates = [start]
        for part in loc:
            candidates = _descend(candidates, part)
        fields = [
            field.alias or name
            for candidate in candidates
            if _is_model(candidate)
            for name, field in candidate.model_fields.items()
        ]
        if fields:
            return fields
    return []


def _is_model(thing: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(thing, type) and issubclass(thing, BaseModel)


def _members(annotation: Any) -> list[Any]:
    """A type's alternatives: the members of a union, the type under an annotation."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [member for arg in get_args(annotation) for member in _members(arg)]
    return [annotation]


def _descend(candidates: list[Any], part: str | int) -> list[Any]:
    below: list[Any] = []
    for candidate in candidates:
        if _is_model(candidate):
            for name, field in candidate.model_fields.items():
                if part == (field.alias or name):
                    below += _members(field.annotation)
        elif arguments := get_args(candidate):
            origin = get_origin(candidate)
            if isinstance(origin, type) and issubclass(origin, Mapping):
                below += _members(arguments[1])
            elif isinstance(part, int):
                below += _members(arguments[0])
    if "[" in str(part):  # the name of a validator function
        return candidates
    if below or len(candidates) == 1:
        return below
    return [candidate for candidate in candidates if _is_tagged(candidate, part)]


def _is_tagged(candidate: Any, tag: str | int) -> bool:
    """Whether *tag*, met in a location, stands for this member of a union."""
    if not _is_model(candidate):
        return False
    literals = [f.annotation for f in candidate.model_fields.values() if get_origin(f.annotation) is Literal]
    return tag == candidate.__name__ or any(tag in get_args(literal) for literal in literals)


def _choices(expected: str) -> list[str]:
    return [choice.strip().strip("'") for choice in expected.replace(" or ", ", ").split(",")]


def _shown(value: Any, limit: int = 60) -> object:
    text = value if isinstance(value, str) else repr(value)
    return value if len(text) <= limit else text[: limit - 1] + "…"
