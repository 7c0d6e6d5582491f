"""Do all designs keep the rules at the golden points, and are the results those of a run without checks?"""

from __future__ import annotations

import pytest
from golden.fingerprints import Key, changes, measure, read

from sim.check import Checks

GOLDEN = read()
EVENTS = {key: int(line.fingerprint["events"]) for key, line in GOLDEN.items()}
RELEASES = ("3.18", "6.0", "6.8", "6.13-invlpgb", "6.13-llfree", "6.13-zram", "6.18")
"""Of Linux, with other locks, trees, flushes and allocators; all of them are in the slow test."""
DESIGNS = sorted(
    {key.design for key in GOLDEN if not key.design.startswith("linux-") or key.design[6:] in RELEASES}
)


def smallest(design: str, least: int) -> Key:
    """The point of *design* with the fewest events of those that have *least*, with several threads if it has
    such a point."""
    mine = sorted((key for key in GOLDEN if key.design == design), key=EVENTS.__getitem__)
    several = [key for key in mine if key.threads > 1 and EVENTS[key] >= least]
    return several[0] if several else mine[len(mine) // 2]


FEW = [smallest(design, 2000) for design in ("linux-6.13", "linux-5.1", "cortenmm-adv", "cortenmm-rw")]
FEW += [smallest(design, 500) for design in ("asterinas-0.18", "linux-6.15", "lock", "tlb-ipi")]


def holds(key: Key) -> Checks:
    checks = Checks()
    assert changes(GOLDEN, {key: measure(key, listeners=checks.listeners)}) == {}
    return checks


@pytest.mark.parametrize("key", FEW, ids=str)
def test_does_a_point_of_each_kind_of_design_keep_the_rules(key: Key) -> None:
    holds(key)


@pytest.mark.ci
@pytest.mark.parametrize("design", DESIGNS)
def test_does_a_point_of_each_design_keep_the_rules(design: str) -> None:
    holds(smallest(design, 500))


@pytest.mark.slow
@pytest.mark.parametrize("key", sorted(GOLDEN), ids=str)
def test_does_every_golden_point_keep_the_rules(key: Key) -> None:
    holds(key)
