"""Files that run a program again: what was run, on which kernel, in which order, and what was found.

    replay: 1
    found: 'AssertionError: frame 71 is freed while cpu 0 translates to it'
    scenario: shared
    design: linux-6.13
    ties: shuffle
    seed: 17
    rounds:
      - # round 1
        - # thread 1
          - {"munmap": {"at": 0x100000, "pages": 1}}

Such a file is YAML that says all of a program: nothing in it is drawn any more. `schema` is its JSON Schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sim.engine import ScheduleName
from sim.errors import Fault, InputError
from sim.files import Document, distinct, read_document, write_atomically
from sim.verify.programs import Mode, Program
from sim.verify.written import KINDS, from_plain, to_plain

FORMAT = 1


class Deviation(BaseModel):
    """A decision that is not that of the plain order."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    at: Annotated[int, Field(ge=0)]
    """Its number: how many steps of the race came before."""
    next: str
    """Who goes on: a thread such as cpu 1, or what it has put off, such as cpu 1/2."""


class ReplayFile(BaseModel):
    """A program that was run, and what was found."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    replay: Literal[1]
    """The format of the file."""
    found: str = ""
    """What the run said that wrote the file."""
    scenario: str
    """What runs and checks it: a name that `cortensim verify --scenarios` prints."""
    mutant: str | None = None
    """The mutant that is put into the model first."""
    design: str
    """A design by its name or path, or one of verify's own."""
    mode: Mode
    """What its threads share."""
    ties: ScheduleName
    """The order of simultaneous events."""
    seed: int
    """Of the engine's random streams."""
    delays: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The chance that a step of a thread is delayed."""
    order: list[Deviation] | None = None
    """Of a race, which is the last round: where it leaves the plain order, in which a thread goes on for as
    long as it can. Without it the clock says who is next."""
    changes: dict[str, Any] = {}
    """To the design's file."""
    machine: dict[str, Any] = {}
    """To the small machine that programs run on."""
    rounds: list[list[list[dict[str, dict[str, Any]]]]]
    """For each round, for each thread, its operations. Between rounds all threads rest. None at all: what is
    wrong shows when the kernel is booted, or when all is unmapped in the end."""


@dataclass(frozen=True)
class Replay:
    """*program*, to be checked as *scenario* does, with *mutant* in the model; it has *found* something."""

    scenario: str
    program: Program
    found: str = ""
    mutant: str | None = None


def text(replay: Replay) -> str:
    """The file of *replay*."""
    program = replay.program
    lines = [
        f"replay: {FORMAT}",
        f"found: {_written(replay.found)}",
        f"scenario: {_written(replay.scenario)}",
        *([] if replay.mutant is None else [f"mutant: {_written(replay.mutant)}"]),
        f"design: {_written(program.kind)}",
        f"mode: {program.mode}",
        f"ties: {program.ties}",
        f"seed: {program.seed}",
        *(f"{key}: {_written(value)}" for key, value in _of_files(program) if value),
        *([f"delays: {program.delays}"] if program.delays else []),
        *_in_order(program),
        "rounds:" if program.rounds else "rounds: []",
    ]
    for number, threads in enumerate(program.rounds, 1):
        lines.append(f"  - # round {number}")
        for thread, operations in enumerate(threads, 1):
            if not operations:
                lines.append("    - []")
                continue
            lines.append(f"    - # thread {thread}")
            lines += [f"      - {_in_hex(_written(to_plain(operation)))}" for operation in operations]
    return "\n".join(lines) + "\n"


def _in_order(program: Program) -> Sequence[str]:
    if not program.order:
        return () if program.order is None else ("order: []",)
    return ("order:", *(f"  - {_written({'at': at, 'next': who})}" for at, who in program.order))


def _of_files(program: Program) -> Sequence[tuple[str, Mapping[str, Any]]]:
    return (("changes", program.changes), ("machine", program.machine))


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True)


def _in_hex(written: str) -> str:
    """Page numbers as messages have them."""
    return re.sub(r"(?<=[ \[])\d{5,}(?=[,}\]])", lambda number: hex(int(number[0])), written)


def write(replay: Replay, path: Path) -> None:
    """Write *replay* to the file at *path*."""
    content = text(replay)
    write_atomically(path, lambda place: _put(place, content))


def _put(place: Path, content: str) -> None:
    place.write_text(content, encoding="utf-8")


def read(path: Path) -> Replay:
    """The replay in the file at *path*. Raises `InputError`, with the place of each fault."""
    faults: list[Fault] = []
    document = read_document(path, faults)
    if document is None or faults:
        raise InputError(distinct(faults))
    try:
        said = ReplayFile.model_validate(document.tree)
    except ValidationError as error:
        raise InputError([_fault(document, each) for each in error.errors()]) from None
    program = Program(
        said.design,
        said.mode,
        _operations(document, said),
        ties=said.ties,
        seed=said.seed,
        changes=said.changes,
        machine=said.machine,
        delays=said.delays,
        order=None if said.order is None else [(each.at, each.next) for each in said.order],
    )
    return Replay(said.scenario, program, said.found, said.mutant)


def _fault(document: Document, error: Any) -> Fault:
    path = error["loc"]
    unknown = error["type"] == "extra_forbidden"
    message = "unknown key" if unknown else "missing" if error["type"] == "missing" else error["msg"]
    allowed = ", ".join(ReplayFile.model_fields) if unknown else None
    return document.fault(path, message, at_key=unknown, allowed=allowed)


def _operations(document: Document, said: ReplayFile) -> list[list[list[Any]]]:
    faults: list[Fault] = []

    def operation(tree: Any, *path: int) -> Any:
        try:
            return from_plain(tree)
        except ValueError as error:
            faults.append(document.fault(("rounds", *path), str(error)))
            return None

    rounds = [
        [
            [operation(tree, number, thread, place) for place, tree in enumerate(operations)]
            for thread, operations in enumerate(threads)
        ]
        for number, threads in enumerate(said.rounds)
    ]
    if faults:
        raise InputError(faults)
    return rounds


def schema() -> dict[str, Any]:
    """The JSON Schema of a replay file."""
    body = ReplayFile.model_json_schema()
    operation = body["properties"]["rounds"]["items"]["items"]["items"]
    operation.update({"propertyNames": {"enum": list(KINDS)}, "minProperties": 1, "maxProperties": 1})
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A program, to be run again"}
    return head | {key: value for key, value in body.items() if key != "title"}
