"""Tables that are unlinked while others walk: does each rule catch who goes on in one, or frees it early?"""

from __future__ import annotations

from typing import Any

import pytest
from checked import US, WAITING, caught, checked
from kernels import BASE, GIB, LEAF

from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import Mmap, Munmap, Touch
from sim.verify.mutants import MUTANTS

SLOWLY: dict[str, Any] = {"costs": {"walk_level": "3000 cycles"}}


def unmaps_above(space: Any, cpu: Cpu) -> Steps[None]:
    """One unmaps two gibibytes, with the tables of level 2, while others walk through them to map pages."""
    draw = cpu.engine.stream(f"test {cpu.id}").random
    for _ in range(30):
        cpu.work(int(draw() * US), WAITING)
        if cpu.id:
            yield from space.perform(cpu, Mmap(1, BASE + LEAF * int(draw() * 4)))
        else:
            yield from space.perform(cpu, Munmap(BASE, 2 * GIB))


def ends_meanwhile(space: Any, cpu: Cpu) -> Steps[None]:
    """One unmaps tables, another walks, and a third one ends, which is a quiescent state."""
    if cpu.id == 0:
        yield from space.perform(cpu, Mmap(2 * LEAF, BASE))
        yield from space.perform(cpu, Touch(range(BASE, BASE + 4)))
        yield from space.perform(cpu, Munmap(BASE, 2 * LEAF))
    elif cpu.id == 1:
        for turn in range(60):
            yield from space.perform(cpu, Mmap(1, BASE + 8 * LEAF + turn))
    else:
        cpu.work(cpu.id * US // 2, WAITING)


@pytest.mark.parametrize("kind", ["adv", "optimistic", "nontransactional"])
def test_are_right_walks_let_through(kind: str) -> None:
    checked(kind, unmaps_above, cpus=4, changes=SLOWLY)
    checked(kind, ends_meanwhile, cpus=12, changes=SLOWLY)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("adv-asks-not-for-strays", "no two cpus have overlapping ranges to themselves (I1, I2): "),
        ("adv-makes-a-child-of-a-stray", "a stray table is not written (I7): "),
        ("adv-frees-tables-at-once", "a page table is freed when nobody can be in it any more (I8): "),
        ("adv-walks-outside-of-rcu", "tables are walked under a lock or in a read section (I8): "),
    ],
)
def test_is_a_walker_in_a_table_that_has_gone_seen(name: str, rule: str) -> None:
    with MUTANTS[name].applied():
        assert caught("adv", unmaps_above, cpus=4, changes=SLOWLY).startswith(rule)


def test_is_a_grace_period_that_ends_too_early_seen() -> None:
    with MUTANTS["rcu-ends-a-period-with-the-first"].applied():
        message = caught("adv", ends_meanwhile, cpus=12, changes=SLOWLY)
    assert message.startswith("a grace period ends with the last section that began before it (I8): ")
