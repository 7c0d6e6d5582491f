"""Which plain system calls may a workload ask for, and what is measured of them?"""

from __future__ import annotations

from typing import Any

import pytest
from plain import measure, workload
from pydantic import ValidationError

PLAIN: dict[str, Any] = {"layout": None, "measured": None, "stack": None, "placements": None, "requests": 2}


def latency(*steps: dict[str, Any], **changes: Any) -> float:
    spec = workload(**{**PLAIN, **changes}, thread=list(steps))
    return float(measure(spec, "linux", placement="", threads=1).latency_mean_ns)


def test_is_what_goes_before_subtracted() -> None:
    """lmbench's signal, less what it takes to ask whether it may be sent."""
    ask, send = {"kill": {"deliver": False}}, {"kill": {"handler": [{"compute": "1 us"}]}}
    assert latency({"timed": [send], "less": [ask]}) == pytest.approx(latency(send) - latency(ask), abs=1)
    assert latency({"timed": [ask], "less": [send]}) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([{"fstat": True}], "without an open file"),
        ([{"close": True}], "without an open file"),
        ([{"open": "/tmp/a"}], "stays open"),
        ([{"open": "/tmp/a"}, {"repeat": {"times": 2, "steps": [{"close": True}]}}], "opened elsewhere"),
        ([{"stat": "tmp"}], "a path from the root on"),
        ([{"kill": {"deliver": False, "handler": [{"compute": "1 us"}]}}], "no handler runs"),
        ([{"compute": "1 us", "less": [{"compute": "1 us"}]}], "`less` belongs to `timed`"),
    ],
)
def test_is_a_step_refused_that_cannot_work(steps: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        workload(**PLAIN, thread=steps)
