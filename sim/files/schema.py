"""JSON Schemas of the files, for completion and checking in editors.

    # yaml-language-server: $schema=schema/machine.json

They are made from the typed models, so they cannot drift apart from them, and say less than the models do:
rules about several values, and about other files, are for `cortensim check`. What they refuse the program
refuses; a file that inherits may leave out what its parent has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core.core_schema import ModelSchema

from sim.files import schedule, spec_types
from sim.files.disk import write_atomically
from sim.files.experiment import POINT_KEYS
from sim.files.field_docs import field_docs
from sim.files.presets import KINDS, Kind
from sim.files.provenance import QUALITIES
from sim.files.ranges import FORMS, PATTERN

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

_TITLES: Mapping[Kind, str] = {
    "machine": "A machine: what its cpus, caches, memory and interrupts cost",
    "design": "A memory-management design: its family, switches, limits and costs",
    "workload": "A workload: what each thread does",
    "experiment": "An experiment: which designs, on which machines, under which workloads",
}
_ORIGIN: Mapping[str, Schema] = {
    "quality": {"enum": list(QUALITIES), "description": "How good the value is"},
    "source": {"type": "string", "description": "Where it is from: a short name that `sources` explains"},
    "note": {"type": "string", "description": "From what it was derived, or what to know of it"},
    "range": {"type": "array", "description": "Between which values the true one lies: [low, high]"},
}
_CONDITION: Mapping[str, Schema] = {
    key: {"description": f"The point's {meaning}: a value, a list, a range, or a comparison such as '<= 128'"}
    for key, meaning in zip(
        POINT_KEYS,
        ("machine", "design", "workload", "placement", "number of threads", "replicate, from 0"),
        strict=True,
    )
}
_SWEPT = "A value of a machine, design or workload file, by its path"
_PATHS = r"^(machine|design|workload)\..+$"
_RANGE: Schema = {"type": "string", "pattern": PATTERN, "description": f"Whole numbers: {FORMS}"}

_SCALARS = ("string", "integer", "number", "boolean")
_PARAMETER: Schema = {"type": "string", "pattern": r"\$\w"}
"""A text with the name of a parameter, as steps and layouts of workloads may have it."""


def schema(kind: Kind) -> Schema:
    """The JSON Schema of a kind of file."""
    if kind == "experiment":
        body, definitions = _experiment()
    elif kind == "workload":
        body, definitions = _workload()
    elif kind == "design":
        body, definitions = _branches(
            {family: _models(model) for family, model in spec_types.of_designs().items()}
        )
    else:
        body, definitions = _models(spec_types.of(kind))
    if kind != "experiment":
        definitions = {name: _partial(_sourced(part)) for name, part in definitions.items()}
        if kind in ("machine", "workload"):
            body = _inheriting(_sourced(body))
    head = {"$schema": DIALECT, "title": _TITLES[kind]}
    body = head | {key: value for key, value in body.items() if key != "title"}
    cleaned: Schema = _clean(body | {"$defs": _referred(body, definitions)})
    return cleaned


def text(kind: Kind) -> str:
    """The schema of a kind as the text of its file."""
    return json.dumps(schema(kind), indent=2, ensure_ascii=False) + "\n"


def write_schemas(folder: Path) -> list[Path]:
    """Write the schema of each kind to *folder*: `machine.json` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in KINDS:
        path = folder / f"{kind}.json"
        content = text(kind)
        write_atomically(path, lambda place, content=content: place.write_text(content, encoding="utf-8"))  # type: ignore[misc]
        written.append(path)
    return written


class _Described(GenerateJsonSchema):
    """pydantic's own, with each key described by the docstring of its field."""

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        body = super().model_schema(schema)
        model = schema["cls"]
        docs = field_docs(model)
        for name, field in model.model_fields.items():
            if name in docs:
                body["properties"][field.alias or name]["description"] = docs[name]
        return body


def _models(*models: type[BaseModel]) -> tuple[Schema, dict[str, Schema]]:
    """The schema of the first model, and those of all that it and the others refer to."""
    references, whole = models_json_schema(
        [(model, "validation") for model in models],
        ref_template="#/$defs/{model}",
        schema_generator=_Described,
    )
    definitions: dict[str, Schema] = whole.get("$defs", {})
    name = references[models[0], "validation"]["$ref"].rpartition("/")[2]
    body = definitions[name]
    return body, {key: value for key, value in definitions.items() if key != name}


def _experiment() -> tuple[Schema, dict[str, Schema]]:
    body, definitions = _models(spec_types.of("experiment"))
    properties: Schema = dict(body["properties"])
    threads = properties["threads"]
    one = {"type": "integer", "minimum": 1}
    properties["threads"] = {
        **threads, "anyOf": [{"type": "array", "minItems": 1, "items": {"anyOf": [one, _RANGE]}}, _RANGE],
    }  # fmt: skip
    for key in ("type", "items", "minItems"):
        properties["threads"].pop(key, None)
    for key in ("sweep", "zip"):
        values = {"anyOf": [{"type": "array", "minItems": 1}, _RANGE], "description": _SWEPT}
        properties[key] = {
            "type": "object",
            "additionalProperties": False,
            "patternProperties": {_PATHS: values},
            "description": "Values by path: machine.coherence.cross_socket: [150 ns, 215 ns]",
        }
    for key in ("only", "exclude"):
        condition = {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": False,
            "properties": dict(_CONDITION),
            "patternProperties": {_PATHS: {"description": _SWEPT}},
        }
        properties[key] = {"type": "array", "items": condition, "description": "Properties of points"}
    word = {"type": "string", "pattern": rf"^({schedule.PATTERN})$"}
    written = {"anyOf": [word, {"$ref": "#/$defs/ScheduleSpec"}]}
    properties["schedule"] = {**written, "description": properties["schedule"]["description"]}
    properties["machine"] = {"type": "string", "description": "Short for `machines` with one item"}
    properties["include"] = {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        "description": "Files with parts that several experiments share",
    }
    quick = {key: value for key, value in properties.items() if key not in ("name", "quick", "include")}
    designs_or_workloads = {
        key: {"type": "string", "description": f"Short for `{key}s` with one item"}
        for key in ("design", "workload")
    }
    properties["quick"] = {
        "type": "object",
        "additionalProperties": False,
        "properties": quick | designs_or_workloads,
        "description": properties["quick"]["description"],
    }
    needed = [key for key in body["required"] if key not in ("name", "machines")]
    return {
        **body,
        "properties": properties,
        "required": ["name"],
        "if": {"not": {"required": ["include"]}},
        "then": {
            "required": needed,
            "oneOf": [{"required": ["machine"]}, {"required": ["machines"]}],
        },
    }, definitions


def _workload() -> tuple[Schema, dict[str, Schema]]:
    """A workload, its steps and placements spelt out (its model reads them with each placement)."""
    from sim.workload import WorkloadPlan

    body, definitions = _models(spec_types.of("workload"), WorkloadPlan)
    plan = definitions.pop("WorkloadPlan")
    spelt = {
        key: plan["properties"][key] for key in ("layout", "program", "setup", "thread", "refill", "roles")
    }
    definitions |= {name: _parametric(part) for name, part in _referred(spelt, definitions).items()}
    overlaid = {**plan["properties"], "parameters": body["properties"]["parameters"]}
    overlay = {"type": "object", "additionalProperties": False, "properties": overlaid}
    placements = {**body["properties"]["placements"], "additionalProperties": overlay}
    return {**body, "properties": {**body["properties"], **spelt, "placements": placements}}, definitions


def _parametric(part: Schema) -> Schema:
    """The schema of a mapping, each value of which may also be a text with the name of a parameter."""
    properties = {key: _or_parameter(value) for key, value in part["properties"].items()}
    return {**part, "properties": properties}


def _or_parameter(value: Schema) -> Schema:
    inner: Schema = {
        key: [_or_parameter(item) for item in value[key]] for key in ("prefixItems", "anyOf") if key in value
    }
    if isinstance(value.get("items"), dict):
        inner["items"] = _or_parameter(value["items"])
    value = {**value, **inner}
    kinds = [value, *value.get("oneOf", ())]
    if not any(kind.get("type") in _SCALARS or "enum" in kind for kind in kinds):
        return value
    about: Schema = {key: value[key] for key in ("description", "default", "title") if key in value}
    bare = {key: part for key, part in value.items() if key not in about}
    return {**about, "anyOf": [bare, _PARAMETER]}


def _branches(families: Mapping[str, tuple[Schema, dict[str, Schema]]]) -> tuple[Schema, dict[str, Schema]]:
    """A file of any family; one that inherits may leave its family out, and then fits some family."""
    branches: list[Schema] = []
    definitions: dict[str, Schema] = {}
    for family, (body, parts) in families.items():
        renamed = {f"#/$defs/{name}": f"#/$defs/{family}-{name}" for name in parts}
        properties = dict(body["properties"])
        if "family" in properties:
            properties["family"] = {"const": family, "description": properties["family"]["description"]}
        branches.append(_refer(_inheriting(_sourced({**body, "properties": properties})), renamed))
        definitions |= {f"{family}-{name}": _refer(part, renamed) for name, part in parts.items()}
    return {"type": "object", "anyOf": branches}, definitions


def _refer(part: Any, renamed: Mapping[str, str]) -> Any:
    if isinstance(part, dict):
        return {
            key: renamed.get(value, value) if key == "$ref" else _refer(value, renamed)
            for key, value in part.items()
        }
    return [_refer(item, renamed) for item in part] if isinstance(part, list) else part


def _referred(body: Schema, definitions: Mapping[str, Schema]) -> dict[str, Schema]:
    """The definitions that *body* refers to, directly or through others."""
    found: dict[str, Schema] = {}
    parts: list[Any] = [body]
    while parts:
        part = parts.pop()
        if isinstance(part, list):
            parts += part
        elif isinstance(part, dict):
            parts += part.values()
            name = str(part.get("$ref", "")).rpartition("/")[2]
            if name in definitions and name not in found:
                found[name] = definitions[name]
                parts.append(definitions[name])
    return {name: definition for name, definition in definitions.items() if name in found}


def _inheriting(body: Schema) -> Schema:
    """A file's own keys, and those that every such file may have; with a parent only its name is needed."""
    required = [key for key in body.get("required", ()) if key != "name"]
    return {
        **body,
        "properties": {
            **body["properties"],
            "inherits": {"type": "string", "description": "A file of the same kind, which this one overlays"},
            "sources": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "Short name of a source -> what it is",
            },
        },
        "required": ["name"],
        "if": {"not": {"required": ["inherits"]}},
        "then": {"required": required},
    }


def _partial(part: Schema) -> Schema:
    """A mapping inside a file, of which a child may give a few keys only."""
    return {key: value for key, value in part.items() if key != "required"}


def _sourced(body: Schema) -> Schema:
    """The schema with every value that has no mappings in it also in its sourced form."""
    properties = body.get("properties")
    if not isinstance(properties, dict):
        return body
    plain = ("name", "title", "family", "inherits")
    return {
        **body,
        "properties": {
            key: value if key in plain or not _is_leaf(value) else _either(value)
            for key, value in properties.items()
        },
    }


def _is_leaf(part: Schema) -> bool:
    kinds = [part, *part.get("anyOf", ())]
    return not any(
        "$ref" in kind
        or kind.get("type") == "object"
        or (kind.get("type") == "array" and not _is_leaf(kind.get("items", {"type": "object"})))
        for kind in kinds
    )


def _either(value: Schema) -> Schema:
    form = {
        "type": "object",
        "additionalProperties": False,
        "required": ["value"],
        "properties": {
            "value": {key: part for key, part in value.items() if key != "default"},
            **_ORIGIN,
        },
    }
    about: Schema = {key: value[key] for key in ("description", "default") if key in value}
    bare = {key: part for key, part in value.items() if key not in about}
    return {**about, "anyOf": [bare, form]}


def _clean(part: Any) -> Any:
    """Without the titles that pydantic makes of the names, and with descriptions on one line.

    A choice by a key becomes any of its parts: a child of a file may leave that key to its parent.
    """
    if isinstance(part, list):
        return [_clean(item) for item in part]
    if not isinstance(part, dict):
        return part
    if "discriminator" in part:
        part = {"anyOf" if key == "oneOf" else key: value for key, value in part.items()}
        del part["discriminator"]
    return {
        key: " ".join(value.split()) if key == "description" and isinstance(value, str) else _clean(value)
        for key, value in part.items()
        if not (key == "title" and isinstance(value, str) and "$schema" not in part)
    }
