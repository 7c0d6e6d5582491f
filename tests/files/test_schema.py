"""Do the published JSON Schemas accept what the program accepts, and are they up to date?"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sim.errors import Fault
from sim.files import KINDS, presets
from sim.files.loader import parse_document
from sim.files.schema import text

SCHEMAS = presets.root() / "configs/schema"
SHIPPED = [
    pytest.param(kind, path, id=f"{kind}s/{path.stem}")
    for kind in KINDS
    for path in sorted(presets.folder(kind).rglob("*.yaml"))
]


def tree(content: str) -> dict[str, Any]:
    faults: list[Fault] = []
    document = parse_document(content, "f.yaml", faults)
    assert document is not None
    assert not faults
    return document.tree


def validator(kind: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((SCHEMAS / f"{kind}.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.ci
def test_is_the_committed_schema_that_of_the_models(kind: str) -> None:
    """Write them anew with `cortensim schema configs/schema`."""
    assert (SCHEMAS / f"{kind}.json").read_text(encoding="utf-8") == text(kind)  # type: ignore[arg-type]
    Draft202012Validator.check_schema(validator(kind).schema)


@pytest.mark.parametrize(("kind", "path"), SHIPPED)
def test_does_every_shipped_file_fit_its_schema(kind: str, path: Path) -> None:
    errors = validator(kind).iter_errors(tree(path.read_text(encoding="utf-8")))
    assert [(list(error.absolute_path), error.message) for error in errors] == []


@pytest.mark.parametrize(
    "every", [pytest.param(5, marks=pytest.mark.ci), pytest.param(1, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(("kind", "path"), SHIPPED)
def test_does_its_schema_refuse_an_unknown_key_anywhere_in_it(kind: str, path: Path, every: int) -> None:
    check = validator(kind)
    content = tree(path.read_text(encoding="utf-8"))
    for at in list(mappings(content))[::every]:
        broken = copy.deepcopy(content)
        inner: Any = broken
        for part in at:
            inner = inner[part]
        inner["kolour"] = 1
        assert not check.is_valid(broken), at


def mappings(value: Any, at: tuple[Any, ...] = ()) -> Any:
    """The paths of the mappings whose keys the models know."""
    if at[:1] in (("sources",), ("parameters",), ("quick",), ("only",), ("exclude",)) or at == (
        "placements",
    ):
        return
    if at[:1] in (("sweep",), ("zip",)) and len(at) > 1:  # values of other files
        return
    if isinstance(value, dict):
        yield at
        for key, item in value.items():
            yield from mappings(item, (*at, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from mappings(item, (*at, index))


@pytest.mark.parametrize("kind", KINDS)
def test_does_an_editor_have_something_to_say_about_every_key(kind: str) -> None:
    silent = ["/".join(at) for at, about in keys_of(validator(kind).schema) if not about.get("description")]
    assert silent == []


def test_does_a_quantity_come_with_an_example_of_how_it_is_written() -> None:
    clock = validator("machine").schema["properties"]["clock"]
    assert clock["description"] == (
        "Frequency of all cores when all of a socket are busy; costs in cycles follow it."
    )
    assert clock["anyOf"][0]["examples"] == ["2.25 GHz"]


def keys_of(part: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Each key that a schema knows, with what it says about it."""
    if isinstance(part, list):
        for item in part:
            yield from keys_of(item, at)
    elif isinstance(part, dict):
        for word, value in part.items():
            if word in ("properties", "patternProperties"):
                yield from (((*at, key), about) for key, about in value.items())
            inner = value.items() if word in ("properties", "patternProperties", "$defs") else [(word, value)]
            for key, item in inner:
                yield from keys_of(item, (*at, key))


EXPERIMENT = "name: e\nmachine: m\ndesigns: [d]\nworkloads: [w]\n"


@pytest.mark.parametrize(
    ("kind", "content", "valid"),
    [
        ("experiment", EXPERIMENT + "threads: 1..384 x2\n", True),
        ("experiment", EXPERIMENT + "threads: [1, 8..64 +8]\n", True),
        ("experiment", EXPERIMENT + "threads: many\n", False),
        ("experiment", EXPERIMENT + "threads: [0]\n", False),
        ("experiment", EXPERIMENT, False),
        ("experiment", EXPERIMENT.replace("machine: m\n", "") + "threads: [1]\n", False),
        ("experiment", "name: e\ninclude: part.yaml\nthreads: [1]\n", True),
        ("experiment", EXPERIMENT + "threads: [1]\nsweep: {machine.x: 1..8, design.y: [a]}\n", True),
        ("experiment", EXPERIMENT + "threads: [1]\nsweep: {x: [1]}\n", False),
        ("experiment", EXPERIMENT + "threads: [1]\nquick: {threads: [1], design: d}\n", True),
        ("experiment", EXPERIMENT + "threads: [1]\nquick: {name: f}\n", False),
        ("experiment", EXPERIMENT + "threads: [1]\nbudget: {simulated_time: 3}\n", False),
        ("machine", "name: m\ninherits: x\ncoherence: {hit: 4 cycles + 1 ns}\n", True),
        ("machine", "name: m\ninherits: x\ncoherence: {hit: {value: 4 ns, quality: measured}}\n", True),
        ("machine", "name: m\ninherits: x\ncoherence: {hit: {value: 4 ns, quality: sure}}\n", False),
        ("machine", "name: m\ninherits: x\ncoherence: {hit: 4}\n", False),
        ("machine", "name: m\ninherits: x\ncoherence: {hit: 4 m}\n", False),
        ("machine", "name: m\n", False),
        ("design", "name: d\ninherits: linux-6.13\nswitches: {prefetchw_mmap_lock: false}\n", True),
        ("design", "name: d\nfamily: lunix\n", False),
        ("workload", "name: w\ninherits: pf\nthread: [{mmap: {at: anywhere}}]\n", True),
        ("workload", "name: w\ninherits: pf\nthread: [{mmap: {at: home}}]\n", False),
        ("workload", "name: w\ninherits: pf\nthread: [{mmap: {at: $where, size: $pages pages}}]\n", True),
        ("workload", "name: w\ninherits: pf\nthread: [{compute: {choice: [1 us, $long]}}]\n", True),
        ("workload", "name: w\ninherits: pf\nlayout: {request: $size, slots: $slots}\n", True),
        ("workload", "name: w\ninherits: pf\nwindow: {skew: $time}\n", False),
        ("machine", "name: m\ninherits: x\ncoherence: {hit: $hit}\n", False),
        ("workload", "name: w\ninherits: cna-lock2\nlocks: {file_lock: {threshold: 1 ms}}\n", True),
        (
            "workload",
            "name: w\ninherits: cna-lock2\nlocks: {file_lock: {kind: mcs, threshold: 1 ms}}\n",
            False,
        ),
    ],
)
def test_what_does_a_schema_accept(kind: str, content: str, valid: bool) -> None:
    assert validator(kind).is_valid(tree(content)) == valid
