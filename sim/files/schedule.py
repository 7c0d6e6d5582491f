"""What an experiment says of the order of simultaneous events, and of delays.

schedule: shuffle
schedule: priority:3                                   # of depth 3
schedule: {kind: priority, depth: 3, decisions: 500}
schedule: {kind: fifo, delays: {chance: 0.001, up_to: 1 us}}
"""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sim.engine import InjectedDelays, Schedule
from sim.engine.schedule import KINDS
from sim.errors import RuleError
from sim.quantities import Duration

PATTERN = r"fifo|shuffle|priority(:[1-9]\d{0,2}(:[1-9]\d{0,8})?)?"
"""A schedule in a word, as a regular expression."""


class DelaysSpec(BaseModel):
    """Each step of a thread is delayed with probability *chance*, by at most *up_to*."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chance: Annotated[float, Field(gt=0, le=1)]
    """Probability, for each step of a thread."""
    up_to: Annotated[Duration, Field(ge=1)]
    """The longest delay; all shorter ones are as likely."""


class ScheduleSpec(BaseModel):
    """What happens first of several things at the same instant (see `sim.engine.schedule`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["fifo", "shuffle", "priority"]
    """By creation, at random, or by random priorities of the threads (PCT)."""
    depth: Annotated[int, Field(ge=1, le=999)] | None = None
    """Of `priority`: the depth of the bugs that it looks for. Absent: 3."""
    decisions: Annotated[int, Field(ge=1, lt=10**9)] | None = None
    """Of `priority`: among how many first decisions priorities change. Absent: 1000."""
    delays: DelaysSpec | None = None
    """Delays of steps of threads, at random."""

    @model_validator(mode="after")
    def _only_priority_has_parameters(self) -> Self:
        for key in ("depth", "decisions"):
            if getattr(self, key) is not None and self.kind != "priority":
                raise RuleError(f"only priority has a {key}", {key: "leave it out", "kind": "priority"})
        return self

    @property
    def identity(self) -> dict[str, Any] | None:
        """Its part of a point's identity; None for plain `fifo`, which is what there always was."""
        written = self.model_dump(mode="json", exclude_none=True)
        return None if written == {"kind": "fifo"} else written

    def rule(self) -> Schedule:
        """The schedule for the engine."""
        parameters = self.model_dump(include={"depth", "decisions"}, exclude_none=True)
        rule: Schedule = partial(KINDS[self.kind], **parameters)
        return InjectedDelays(rule, self.delays.chance, self.delays.up_to) if self.delays else rule


FIFO = ScheduleSpec(kind="fifo")


def in_full(value: Any) -> Any:
    """A schedule in a word as the mapping that it is short for; anything else as it is."""
    if not isinstance(value, str):
        return value
    if not re.fullmatch(PATTERN, value):
        raise ValueError("must be fifo, shuffle, priority[:DEPTH[:DECISIONS]] or a mapping with a `kind`")
    kind, *numbers = value.split(":")
    return {"kind": kind, **dict(zip(("depth", "decisions"), map(int, numbers), strict=False))}
