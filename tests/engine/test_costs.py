"""Are the values of a spec resolved for a clock, and for good?"""

from __future__ import annotations

import pytest

from sim.engine.costs import at_clock, at_clocks
from sim.quantities import Cost, Duration, Spec


class Costs(Spec):
    private: Cost
    mixed: Cost
    tick: Duration
    absent: Cost | None = None


COSTS = Costs.model_validate({"private": "10 cycles", "mixed": "10 cycles + 3 ns", "tick": "1 us"})


@pytest.mark.parametrize(("clock", "cycle"), [(1_000_000_000, 1000), (2_000_000_000, 500)])
def test_is_each_cost_that_of_the_clock(clock: int, cycle: int) -> None:
    cost = at_clock(COSTS, clock)
    assert (cost.private, cost.mixed) == (10 * cycle, 10 * cycle + 3000)
    assert (cost.tick, cost.absent) == (1_000_000, None)


def test_have_some_costs_a_clock_of_their_own() -> None:
    cost = at_clocks(COSTS, 1_000_000_000, {"private"}, 500_000_000)
    assert (cost.private, cost.mixed, cost.tick) == (20_000, 13_000, 1_000_000)


def test_can_it_be_changed() -> None:
    cost = at_clock(COSTS, 1_000_000_000)
    with pytest.raises(AttributeError, match="private is what the files say"):
        cost.private = 0  # type: ignore[misc]
    assert not hasattr(cost, "__dict__")


def test_are_they_resolved_once_and_still_each_on_its_own_clock() -> None:
    """Equal specs may share what neither can change; costs on another clock leave the shared ones alone."""
    cost = at_clock(COSTS, 1_000_000_000)
    at_clocks(COSTS, 1_000_000_000, {"private"}, 500_000_000)
    assert at_clock(COSTS, 1_000_000_000) is cost
    assert cost.private == 10_000
    changed = COSTS.model_copy(update={"tick": 7})
    assert at_clock(changed, 1_000_000_000).tick == 7
    assert at_clock(COSTS, 1_000_000_000).tick == 1_000_000
