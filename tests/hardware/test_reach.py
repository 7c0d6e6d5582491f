"""Do lines and pages of a structure fall out of a core's caches and TLB when there are too many?"""

from __future__ import annotations

from machines import NS, small_machine

from sim.hardware import Reach

CORE_CACHE = {"memory": {"core_cache": {"size": "256 B", "miss": "10 ns"}}}
PAGE = 64
"""Lines of a page."""


def test_does_a_line_fall_out_when_so_many_others_have_come() -> None:
    """Room for four: the line used longest ago leaves first."""
    machine = small_machine(online=2, changes=CORE_CACHE)
    reach, cpu, other = Reach(machine), machine.cpus[0], machine.cpus[1]
    for line in range(4):
        reach.use(cpu, line, had=False)
    assert [reach.use(cpu, line, had=True) for line in (0, 1)] == [0, 0]
    reach.use(cpu, 4, had=False)  # pushes 2 out
    assert reach.use(cpu, 3, had=True) == 0
    assert reach.use(cpu, 2, had=True) == 10 * NS
    assert reach.use(other, 3, had=True) >= 10 * NS  # each core has its own


def test_does_a_line_that_comes_from_elsewhere_cost_no_miss_beside() -> None:
    machine = small_machine(online=1, changes=CORE_CACHE)
    reach, cpu = Reach(machine), machine.cpus[0]
    reach.use(cpu, 0, had=False)
    assert reach.use(cpu, 1, had=False) == 0


def test_does_everything_fit_where_the_machine_does_not_say() -> None:
    machine = small_machine(online=1)
    reach, cpu = Reach(machine), machine.cpus[0]
    reach.use(cpu, 0, had=True)
    assert all(reach.use(cpu, line, had=True) == 0 for line in range(PAGE))


def test_does_a_page_that_the_tlb_has_not_cost_a_walk() -> None:
    machine = small_machine(online=1, changes={"tlb": {"entries": 2}})
    reach, cpu = Reach(machine), machine.cpus[0]
    first = reach.use(cpu, 0, had=True)
    assert first == machine.spec.tlb.walk.at(machine.spec.clock)
    assert reach.use(cpu, 1, had=True) == 0
    assert [reach.use(cpu, PAGE * page, had=True) for page in (1, 2, 0)] == [first] * 3
