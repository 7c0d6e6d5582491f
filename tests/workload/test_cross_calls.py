"""What is measured of a function that is called on other cpus?"""

from __future__ import annotations

from typing import Any

import pytest
from machines import raw_spec
from plain import measure, workload

from sim.hardware import MachineSpec
from sim.hardware.boot import booted
from sim.workload.demands import misfit

PLAIN: dict[str, Any] = {"layout": None, "measured": None, "stack": None, "placements": None, "thread": None}
COMPUTES = {"who": "others", "measured": False, "steps": [{"compute": "1 us"}]}


def calls(threads: int = 2, **step: Any) -> float:
    """Latency in ns; the others only compute, and the window is counted."""
    role = {"who": "first", "steps": [{"timed": [{"call_function": {"targets": "next", **step}}]}]}
    window = {"warm_up": "4 requests", "length": "16 requests"}
    spec = workload(**{**PLAIN, "requests": None}, window=window, roles=[role, COMPUTES])
    return float(measure(spec, "linux", placement="", threads=threads).latency_mean_ns)


def test_when_has_a_call_ended_that_is_timed() -> None:
    """When the function has run on the last target, or a little later, when the sender has read its word."""
    called, over = calls(until="called"), calls()
    assert called < over
    assert calls(function="1 us") == pytest.approx(over + 1000, rel=0.01)
    assert calls(until="called", function="1 us") == pytest.approx(called + 1000, rel=0.01)


def test_whom_does_it_ask() -> None:
    assert calls(4) < calls(4, targets=2) < calls(4, targets="all")


def test_is_a_call_refused_that_nobody_is_there_for() -> None:
    thread = [{"call_function": {"targets": "all"}}]
    fault = misfit(MachineSpec.model_validate(raw_spec()), workload(**{**PLAIN, "thread": thread}), "", 1)
    assert fault is not None
    assert "there is one thread" in fault.message


def test_does_a_hypervisor_that_lets_the_processor_send_save_the_exit() -> None:
    """Where the processor can."""
    raw = raw_spec({"interrupts": {"icr_write": "500 ns", "icr_target": "100 ns"}})
    without = MachineSpec.model_validate(raw)
    able = MachineSpec.model_validate(
        raw_spec({"interrupts": {**raw["interrupts"], "virtual_icr_write": "50 ns"}})
    )
    costs = [
        (each.interrupts.icr_write.fixed_ps, each.interrupts.icr_target.fixed_ps)
        for each in (booted(able, None), booted(able, None, virtual_ipis=True), booted(without, None))
    ]
    assert costs == [(500_000, 100_000), (50_000, 0), (500_000, 100_000)]
    assert booted(without, None, virtual_ipis=True) == booted(without, None)
