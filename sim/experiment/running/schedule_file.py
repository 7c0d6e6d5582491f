"""A point's decisions in a file: written by `run --record-schedule`, repeated by `run --replay-schedule`.

    {"format": "cortensim-schedule", "version": 1,
     "point": {"design": "linux-6.13", "threads": 8, "seed": 31337, ...},
     "runs": [{"events": 5210, "time_ps": 88123000, "choices": [[12, 3, 2]], "delays": [[40, 700]]}]}

A choice is [event, how many were ready, which of them in the order of creation, from 0]; a delay is [event,
ps]. The rest was decided as `fifo` does. A file is of one point: where that has other files, another seed or
number of threads now, it is refused; where the model is another one the run tells, for no decision fits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sim.engine import Decisions
from sim.errors import Fault, InputError
from sim.experiment.plan import Experiment, Point, StoredSchedule
from sim.files import display, read_input, write_atomically

FORMAT, VERSION = "cortensim-schedule", 1
_LARGEST = 256 << 20
"""Bytes of a file."""

Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Run(_Strict):
    """`sim.engine.Decisions` as a file has them."""

    events: Whole | None = None
    time_ps: Whole | None = None
    choices: tuple[tuple[Positive, Annotated[int, Field(ge=2)], Whole], ...] = ()
    delays: tuple[tuple[Positive, Positive], ...] = ()

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name, decisions in (("choices", self.choices), ("delays", self.delays)):
            if any(before[0] >= after[0] for before, after in pairwise(decisions)):
                raise ValueError(f"the events of {name} must rise")
        for event, ready, chosen in self.choices:
            if chosen >= ready:
                raise ValueError(f"event {event} cannot be number {chosen} of {ready}, counted from 0")
        return self

    def decisions(self) -> Decisions:
        return Decisions(list(self.choices), list(self.delays), self.events, self.time_ps)


class _Point(_Strict):
    """Which point it is, in words, and the sha256 of what its files say."""

    design: str
    machine: str
    workload: str
    placement: str
    threads: int
    seed: int
    replicate: int
    swept: tuple[tuple[str, Any], ...]
    content: str


class _File(_Strict):
    format: Literal["cortensim-schedule"]
    version: Literal[1]
    point: _Point
    runs: Annotated[tuple[_Run, ...], Field(min_length=1)]


def write(folder: Path, point: Point, runs: Sequence[Decisions]) -> Path:
    """Write what was decided in *runs* of *point* to a file of its own in *folder*."""
    runs_written = [
        {"events": run.events, "time_ps": run.time, "choices": run.choices, "delays": run.delays}
        for run in runs
    ]
    tree = {
        "format": FORMAT,
        "version": VERSION,
        "point": _described(point).model_dump(),
        "runs": runs_written,
    }
    text = json.dumps(tree, separators=(",", ":")) + "\n"
    words = (point.design, point.workload, point.placement, f"x{point.threads}", point.id[:12])
    path = folder / ("-".join(filter(None, words)) + ".json")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda place: place.write_text(text, encoding="utf-8"))
    return path


def replaying(experiment: Experiment, path: Path) -> Experiment:
    """Only the point of *experiment* whose decisions are in the file at *path*, to be run as it was.

    Raises `InputError` where the file cannot be used or the experiment has no such point.
    """
    file, digest = _read(path)
    for point in experiment.points:
        if _described(point) == file.point:
            stored = StoredSchedule(digest, [run.decisions() for run in file.runs])
            return replace(experiment, replayed=replace(point, schedule=stored))
    raise InputError(_stranger(experiment, file.point, display(path)))


def _described(point: Point) -> _Point:
    return _Point(**{name: getattr(point, name) for name in _Point.model_fields})


def _stranger(experiment: Experiment, wanted: _Point, file: str) -> Fault:
    """Why no point of *experiment* is the one *wanted*: what the nearest one has otherwise."""
    described = [_described(point) for point in experiment.points]
    differences = [
        [key for key in _Point.model_fields if getattr(other, key) != getattr(wanted, key)]
        for other in described
    ]
    nearest = min(differences, key=len)
    key = nearest[0]
    if key == "content":
        return Fault("recorded from files that said something else: its machine, design or workload", file)
    known = list(dict.fromkeys(str(getattr(other, key)) for other in described))
    value, allowed = getattr(wanted, key), ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
    return Fault(
        f"{experiment.name} has no such point", file, key=f"point.{key}", value=value, allowed=allowed
    )


def _read(path: Path) -> tuple[_File, str]:
    shown = display(path)
    data = read_input(path, shown, _LARGEST)
    if isinstance(data, Fault):
        raise InputError(data)
    try:
        return _File.model_validate_json(data), hashlib.sha256(data).hexdigest()
    except ValidationError as error:
        raise InputError(
            [_refusal(detail, shown) for detail in error.errors(include_url=False)[:5]]
        ) from None


def _refusal(detail: Any, file: str) -> Fault:
    key = ".".join(str(part) for part in detail["loc"]) or None
    value = detail["input"] if isinstance(detail["input"], str | int | float) and key else None
    return Fault(detail["msg"].removeprefix("Value error, "), file, key=key, value=value)
