"""Pages of the keys of files, from the models that read them: what `cortensim schema` writes, for people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, get_args

import yaml
from pydantic import BaseModel, TypeAdapter
from source import Page
from text import code, table

from sim import quantities
from sim.files import KINDS, Kind, ranges, spec_types
from sim.files.schema import schema as made

FOLDER = "reference/files"
schema = cache(made)
Part = Mapping[str, Any]

_MEANING = {
    "Duration": "a time",
    "Size": "an amount of memory; a page is 4 KiB",
    "Frequency": "a clock",
    "Bandwidth": "bytes over time",
    "Cost": "cycles, which follow the clock, a time, or their sum",
    "WallTime": "a time on the clock on the wall",
    "Release": "a version of Linux, in quotes",
}
_PARAMETER = {"type": "string", "pattern": r"\$\w"}
_BOUNDS = {"minimum": "≥", "ge": "≥", "exclusiveMinimum": ">", "gt": ">", "maximum": "≤", "le": "≤"} | {
    "exclusiveMaximum": "<",
    "lt": "<",
}


def schema_pages() -> Iterator[Page]:
    """A page for each kind of file, and one about what they have in common."""
    yield Page(f"{FOLDER}/index.md", _common())
    for kind in KINDS:
        yield Page(f"{FOLDER}/{kind}.md", _KindPage(kind).text())


def _common() -> str:
    rows = []
    for name, part in _QUANTITIES.items():
        units = re.findall(r"\(([A-Za-zµ/|]+)\)", part["pattern"])
        rows.append(
            (
                _spoken(name),
                _MEANING[name],
                code(part["examples"][0]),
                ", ".join(map(code, units[0].split("|"))) if units else "",
            )
        )
    kinds = "".join(f"- [{kind}]({kind}.md): {schema(kind)['title'].partition(': ')[2]}\n" for kind in KINDS)
    return _COMMON.format(
        kinds=kinds,
        quantities=table(("type", "what", "example", "units"), rows),
        ranges=ranges.FORMS,
        names="\n".join(KINDS),
    )


_COMMON = """\
# Files

Every key of every file, made from the models that read them. `cortensim check FILE` says what is wrong with
one, `cortensim schema DIR` writes JSON Schemas that give an editor completion, and `cortensim show NAME`
prints each value of a file with its origin.

{kinds}
(file-quantities)=
## Quantities

A number with a unit, as text. A number without a unit is an error.

{quantities}
(file-ranges)=
## Ranges

Whole numbers as text: {ranges}.

## Values with their source

In files of machines, designs and workloads most values may say where they are from. Instead of `120 ns`
stands `{{value: 120 ns, quality: published, source: NAME, note: ..., range: [100 ns, 140 ns]}}`. `sources`
at the end of the file explains the name. What qualities are worth is in
[how far to trust a run](../../docs/analysis.md#how-sure-are-you).

## Files that inherit

With `inherits: NAME` a file of a machine, design or workload overlays another one: it gives its `name` and
what is different. *Needed* is what a file needs that inherits from nothing.

```{{toctree}}
:hidden:

{names}
```
"""


class _KindPage:
    """The page of a kind of file: its own keys, then each mapping in it."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.schema = schema(kind)
        self.models = _models(spec_types.all_of(kind))
        self.unnamed: dict[str, Part] = {}
        """Mappings without a name of their own that were met, by the key that they stand under."""

    def text(self) -> str:
        title, _, line = self.schema["title"].partition(": ")
        text = f"# {title.split(' ', 1)[1].capitalize()}\n\n{line[0].upper()}{line[1:]}.\n\n"
        branches = self.schema.get("anyOf", [self.schema])
        for branch in branches:
            family = branch["properties"].get("family", {}).get("const")
            if family:
                text += f"## Family {code(family)}\n\n"
            text += self._mapping(branch, self._needed(branch))
        for name, part in self.schema["$defs"].items():
            text += f"({self._target(name)})=\n## {name}\n\n" + self._mapping(part, self._needed_of(name))
        told: set[str] = set()
        while rest := [name for name in self.unnamed if name not in told]:
            for name in rest:
                text += f"({self._target(name)})=\n## {name}\n\n" + self._mapping(self.unnamed[name], set())
            told |= {*rest}
        return text

    def _target(self, name: str) -> str:
        return re.sub(r"[^a-z0-9]+", "-", f"file-{self.kind}-{name}".lower())

    def _needed(self, branch: Part) -> set[str]:
        return {*branch.get("required", ()), *branch.get("then", {}).get("required", ())}

    def _needed_of(self, name: str) -> set[str]:
        """The keys that a mapping needs. Its schema does not say: a child may give a few only."""
        model = self.models.get(name.rpartition("-")[2])
        fields = model.model_fields if model else {}
        return {field.alias or key for key, field in fields.items() if field.is_required()}

    def _mapping(self, part: Part, needed: set[str]) -> str:
        text = f"{part['description']}\n\n" if "description" in part and "$schema" not in part else ""
        if "properties" not in part:
            return f"{text}{self._type(part, '')}\n\n"
        rows = [
            (
                code(key),
                self._type(value, key),
                self._default(value, key in needed),
                value.get("description", ""),
            )
            for key, value in part["properties"].items()
        ]
        return text + table(("key", "value", "default", "meaning"), rows, look="keys") + "\n"

    def _default(self, value: Part, needed: bool) -> str:
        if needed:
            return "*needed*"
        default = value.get("default")
        if default is None or default in ([], {}) or isinstance(default, dict):
            return ""  # of a mapping the table of its keys says it
        if type(default) is int and (write := _WRITTEN.get(self._type(value, ""))):
            return code(write(default))
        return code(
            yaml.safe_dump(default, default_flow_style=True, width=1000).removesuffix("...\n").strip()
        )

    def _type(self, part: Part, key: str) -> str:
        """What a value is, in words."""
        kinds = [kind for kind in part.get("anyOf", part.get("oneOf", ())) if kind != _PARAMETER]
        kinds = [kind for kind in kinds if kind.get("type") != "null" and not _is_sourced(kind)]
        if kinds:
            return " or ".join(dict.fromkeys(self._type(kind, key) for kind in kinds))
        if "$ref" in part:
            name = part["$ref"].rpartition("/")[2]
            return f"[{name}](#{self._target(name)})"
        if "const" in part:
            return code(part["const"])
        if "enum" in part:
            return ", ".join(map(code, part["enum"]))
        match part.get("type"):
            case "array" if "prefixItems" in part:
                return "[" + ", ".join(self._type(item, key) for item in part["prefixItems"]) + "]"
            case "array":
                items = self._type(part["items"], key) if part.get("items") else ""
                return f"list of ({items})" if " or " in items else f"list of {items}" if items else "list"
            case "object":
                return self._object(part, key)
            case "string":
                return _string(part)
            case "integer" | "number" as kind:
                bounds = [f"{sign} {part[bound]}" for bound, sign in _BOUNDS.items() if bound in part]
                return f"{kind} {', '.join(bounds)}".strip()
            case "boolean":
                return "`true` or `false`"
            case "null":
                return "nothing"
        return "anything"

    def _object(self, part: Part, key: str) -> str:
        below = part.get("additionalProperties")
        if "properties" in part:
            self.unnamed.setdefault(key, part)
            return f"[{key}](#{self._target(key)})"
        if isinstance(below, dict):
            return f"mapping: name → {self._type(below, key)}"
        patterns = part.get("patternProperties", {})
        return (
            "; ".join(f"mapping: path → {self._type(value, key)}" for value in patterns.values()) or "mapping"
        )


def _is_sourced(part: Part) -> bool:
    return "quality" in part.get("properties", {})


def _string(part: Part) -> str:
    if part.get("pattern") == ranges.PATTERN:
        return "[range](#file-ranges)"
    for name, known in _QUANTITIES.items():
        if part.get("pattern") == known["pattern"]:
            return _link(name)
    return "text"


def _link(name: str) -> str:
    return f"[{_spoken(name)}](#file-quantities)"


def _spoken(name: str) -> str:
    return "wall time" if name == "WallTime" else name.lower()


_QUANTITIES = {name: TypeAdapter(getattr(quantities, name)).json_schema() for name in _MEANING}
_WRITTEN = {_link("Duration"): quantities.format_duration, _link("Size"): quantities.format_size}


def _models(tops: Iterable[type[BaseModel]]) -> dict[str, type[BaseModel]]:
    """Name -> model, of all that these models are made of."""
    found: dict[str, type[BaseModel]] = {}
    waiting: list[Any] = list(tops)
    while waiting:
        part = waiting.pop()
        waiting += get_args(part)
        if isinstance(part, type) and issubclass(part, BaseModel) and part.__name__ not in found:
            found[part.__name__] = part
            waiting += [field.annotation for field in part.model_fields.values()]
    return found
