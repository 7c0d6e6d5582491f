"""Which idle states does a kernel use, and does a cpu that comes from a long sleep expect another one?"""

from __future__ import annotations

import pytest
from machines import raw_spec

from sim.hardware import MachineSpec, booted
from sim.hardware.idle import IdleStates

STATES = [
    {"name": "C3", "exit": "20 us", "residency": "80 us"},
    {"name": "C6", "exit": "120 us", "residency": "800 us"},
]
US = 1_000_000


def spec() -> MachineSpec:
    return MachineSpec.model_validate(raw_spec({"kernel": {"idle_states": STATES}}))


@pytest.mark.parametrize(
    ("deepest", "names"), [(None, ["C3", "C6"]), ("C3", ["C3"]), ("C6", ["C3", "C6"]), ("C7", ["C3", "C6"])]
)
def test_does_a_kernel_use_states_up_to_the_one_it_names(deepest: str | None, names: list[str]) -> None:
    """One that the machine has not takes none away."""
    ready = booted(spec(), None, deepest_idle=deepest)
    assert [state.name for state in ready.kernel.idle_states] == names


def test_does_a_cpu_that_was_idle_for_long_sleep_deep_until_it_has_learned() -> None:
    """The governor remembers eight periods, and leaves the two longest out where the others are alike."""
    states = IdleStates(spec(), 2)
    states.was_idle(0)
    exits = [states.leave(0, 100 * US) for _ in range(9)]
    assert exits[0] == 120 * US
    assert exits[-1] == 20 * US
    assert states.leave(1, 100 * US) == 0  # without a past it expects a short one
