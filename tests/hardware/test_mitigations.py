"""What does the kernel's border cost on a machine under a release, and what its code?"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from machines import NS, SIBLINGS, Body, raw_spec, run, small_machine

from sim.engine import Activity, Engine, Steps
from sim.files import load_spec, presets
from sim.hardware import Cpu, Machine, MachineSpec
from sim.hardware import booted as boot
from sim.quantities import format_release, parse_release
from sim.workload import WorkloadSpec
from sim.workload.run import run_once

LIST: list[dict[str, Any]] = [
    {"name": "kpti", "since": "4.15", "syscall": "100 ns", "exception": "110 ns", "own_tables": True},
    {"name": "verw", "since": "5.2", "until": "6.10", "syscall": "30 ns", "exception": "30 ns"},
    {"name": "ibrs", "since": "5.19", "syscall": "70 cycles", "code": 1.25},
]
"""On the small machine a call costs 50 ns, a fault 100 ns and a cycle 1 ns."""
CHANGES: dict[str, Any] = {"tlb": {"invalidate_user": "100 ns"}, "kernel": {"mitigations": LIST}}
NULL_CALLS = {
    "name": "null",
    "title": "nothing but calls",
    "requests": 4,
    "stack": {"size": "16 KiB", "touched": "1 pages"},
    "thread": [{"syscall": "0 ns"}],
    "placements": {"only": {}},
}
BORDER = {  # release: ns of a null call, of a fault
    "2.6.37": (50, 100),
    "4.14": (50, 100),
    "4.15": (50 + 100, 100 + 110),
    "5.2": (50 + 100 + 30, 100 + 110 + 30),
    "5.18": (50 + 100 + 30, 100 + 110 + 30),
    "5.19": (50 + 100 + 30 + 70, 100 + 110 + 30),
    "6.9": (50 + 100 + 30 + 70, 100 + 110 + 30),
    "6.10": (50 + 100 + 70, 100 + 110),
    "7.0": (50 + 100 + 70, 100 + 110),
    None: (50 + 100 + 70, 100 + 110),
}


def under(release: str | None, changes: dict[str, Any]) -> MachineSpec:
    spec = MachineSpec.model_validate(raw_spec(changes))
    return boot(spec, None if release is None else parse_release(release))


def crossing(machine: Machine, calls: int) -> Body:
    def body(cpu: Cpu) -> Steps[None]:
        for _ in range(calls):
            machine.entry.syscall(cpu, Activity("syscall"))
            machine.entry.exception(cpu, Activity("fault entry"))
            yield cpu.take_pending()

    return body


@pytest.mark.parametrize("release", BORDER)
def test_is_the_border_what_the_release_has_added_up(release: str | None) -> None:
    machine = Machine(Engine(seed=0, max_events=1000), under(release, CHANGES))
    run(machine, {0: crossing(machine, 3)})
    spent = machine.cpus[0].spent
    assert (spent["syscall"] / 3 / NS, spent["fault entry"] / 3 / NS) == BORDER[release]


@pytest.mark.parametrize("release", [None, "4.9", "6.13"])
def test_is_off_off(release: str | None) -> None:
    off = under(release, CHANGES | {"kernel": {"mitigations": LIST, "mitigations_off": True}})
    machine = Machine(Engine(seed=0, max_events=1000), off)
    run(machine, {0: crossing(machine, 1)})
    spent = machine.cpus[0].spent
    assert (spent["syscall"], spent["fault entry"]) == (50 * NS, 100 * NS)
    assert (off.kernel_clock, off.tlb.invalidate_user) == (off.clock, None)


def test_is_kernel_code_slower_and_nothing_else() -> None:
    before, after = under("5.18", CHANGES), under("5.19", CHANGES)
    assert before.kernel_clock == before.clock == after.clock
    assert after.kernel_clock == round(after.clock / 1.25)
    assert before.kernel.context_switch.at(10**9) * 1.25 == after.kernel.context_switch.at(10**9)
    assert before.interrupts.send.at(10**9) * 1.25 == after.interrupts.send.at(10**9)
    code = {"before_switch", "context_switch", "create_thread", "wake_in_vain", "wake_send"}
    kept = {"kernel": {"mitigations", *code}, "interrupts": {"send"}}
    assert before.model_dump(exclude=kept) == after.model_dump(exclude=kept)
    linux: Any = load_spec("design", "linux-6.13").spec
    for name in ("mmap_enter", "fault", "zap_page"):
        cost = getattr(linux.costs, name)
        assert cost.at(after.kernel_clock) == pytest.approx(1.25 * cost.at(before.kernel_clock), rel=1e-6)


def test_does_a_run_boot_the_release_of_its_design() -> None:
    calls = WorkloadSpec.model_validate_json(json.dumps(NULL_CALLS)).plan("only")
    spec = MachineSpec.model_validate(raw_spec(CHANGES))
    linux: Any = load_spec("design", "linux-6.13").spec
    for release in ("4.14", "5.18", "6.10"):
        design = linux.model_copy(update={"release": parse_release(release)})
        ran = run_once(spec, design, calls, threads=1, seed=1, max_events=100_000, max_time_ps=10**12)
        assert ran.spent["syscall"] / 4 / NS == BORDER[release][0]


def test_does_a_busy_sibling_lengthen_the_entry_code_and_not_the_serialising_writes() -> None:
    spec = under("5.2", CHANGES | SIBLINGS)
    machine = Machine(Engine(seed=0, max_events=1000), spec)
    run(machine, dict.fromkeys((0, 16), crossing(machine, 4)))
    assert machine.cpus[0].spent["syscall"] == 4 * (1.5 * 50 + 130) * NS


def test_are_the_users_tables_invalidated_only_where_there_are_some() -> None:
    def cost(release: str) -> int:
        return Machine(Engine(seed=0), under(release, CHANGES)).cpus[0].tlb.invalidate_cost

    assert (cost("4.14"), cost("4.15")) == (40 * NS, 140 * NS)


SHIPPED = {  # what kernels of 4.9, 5.1, 5.17, 6.7 and 7.0 take
    "broadwell-48": ("", "kpti", "kpti mds", "kpti mds", "kpti mds"),
    "cooperlake-224": ("", "", "", "", "bhi"),
    "epyc-9965-guest": ("", "", "", "", ""),
    "granite-rapids-256": ("", "", "", "", ""),
    "haswell-desktop-4": ("", "", "", "", ""),
    "icelake-96": ("", "", "", "", "bhi"),
    "milan-72": ("", "", "", "srso", "srso"),
    "skylake-104": ("", "kpti", "kpti mds", "kpti mds retbleed-ibrs", "kpti mds retbleed-ibrs"),
    "xeon-5418yx2": ("", "", "", "", ""),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_does_a_processor_defend_what_it_has_and_a_kernel_what_it_knows(name: str) -> None:
    spec = load_spec("machine", name).spec
    assert isinstance(spec, MachineSpec)
    taken = (
        " ".join(each.name for each in boot(spec, parse_release(release)).mitigations_in_force)
        for release in ("4.9", "5.1", "5.17", "6.7", "7.0")
    )
    assert tuple(taken) == SHIPPED[name]


def test_has_a_linux_the_release_of_its_name() -> None:
    named = {name: re.match(r"linux-([\d.]+)(?![\d.])", name) for name in presets.names("design")}
    releases = {name: match[1] for name, match in named.items() if match}
    assert len(releases) > 30
    for name, release in releases.items():
        its = load_spec("design", name).spec.release  # type: ignore[attr-defined]
        assert format_release(its or ()) == release, name


def test_does_the_small_machine_have_none_by_itself() -> None:
    assert small_machine().spec.mitigations_in_force == []
