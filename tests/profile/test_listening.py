"""Is a run the same whoever listens to it, to the number of its events?"""

from __future__ import annotations

import pytest

from sim.engine import Probe
from sim.engine.probe import HOOKS
from sim.experiment import load, run_point


def listener(*hooks: str) -> Probe:
    """Somebody who hears *hooks* and does nothing."""
    return type("Listener", (Probe,), {hook: lambda self, *told, **named: None for hook in hooks})()


@pytest.mark.parametrize("design", ["linux-6.13", "cortenmm-adv"])
def test_is_a_run_the_same_whoever_listens(design: str) -> None:
    """Large ranges that are unmapped beside others: many entries are written in one step."""
    experiment = load(
        "quickstart",
        {
            "designs": [design],
            "workloads": ["unmap-beside-workers"],
            "placements": ["pieces"],
            "threads": [2],
            "workload.pooled_threads": 2,
        },
    )
    point = experiment.points[0]
    alone = run_point(point)
    assert alone.row.status == "ok", alone.row.error
    for hooks in (("line_transfer",), ("line_access", "line_accessed"), ("charge",), HOOKS):
        heard = run_point(point, listeners=[listener(*hooks)])
        assert heard.row == alone.row, hooks
        assert heard.breakdown == alone.breakdown, hooks
