"""Is the shootdown that is shown one that happened, with all its times and all of its sender's time?"""

from __future__ import annotations

from pathlib import Path

import pytest
from machines import NS, run, small_machine
from traces import point

from sim.analysis.shootdown_text import MOST, shootdown_lines
from sim.analysis.tracing import trace_point
from sim.engine import Activity, Steps
from sim.experiment import run_point
from sim.hardware import Cpu
from sim.hardware.interrupts import IPI_SEND
from sim.timeline import Asked, Shootdowns, Timeline


def found(folder: Path, design: str, threads: int, near: int | None = None) -> tuple[Shootdowns, Timeline]:
    timeline = Timeline(Asked(), windowed=False)
    one = Shootdowns(timeline, near)
    outcome = run_point(point(folder, design, threads), listeners=[timeline, one])
    assert not outcome.failed, outcome.trace
    return one, timeline


@pytest.mark.parametrize("design", ["linux-6.13", "linux-5.1", "asterinas-0.18"])
def test_is_all_of_the_senders_time_told(design: str, tmp_path: Path) -> None:
    """Charges and the clock are two books: what the sender was charged is how long it took."""
    one, timeline = found(tmp_path, design, 6)
    shown = one.found
    assert shown is not None
    assert sum(shown.spent.values()) == shown.length
    for part in shown.parts.values():
        assert part.begins is not None
        assert part.ends is not None
        assert shown.began <= part.begins < part.ends <= shown.ended
        assert part.arrived is not None
        assert part.arrived <= part.begins
        assert part.own == (part.arrived > shown.began)
    assert shown.operation == "munmap"
    sight = next(each for each in timeline.shown.sights if each.what.startswith("longest call"))
    assert (str(shown.sender), shown.began - one.zero) == (sight.cpu, sight.begin)


def test_is_the_nearest_one_nearer_than_the_longest(tmp_path: Path) -> None:
    longest, _ = found(tmp_path, "linux-6.13", 6)
    assert longest.found is not None
    at = longest.found.began - longest.zero
    again, _ = found(tmp_path, "linux-6.13", 6, near=at + 1)
    assert again.found is not None
    assert again.found.began == longest.found.began
    first, _ = found(tmp_path, "linux-6.13", 6, near=0)
    assert first.found is not None
    assert first.found.began <= longest.found.began
    assert first.seen == longest.seen > 1


class Beside(Timeline):
    """A timeline that says of everything that it is measured."""

    @property
    def zero(self) -> int | None:
        return 0


def test_are_times_of_targets_those_of_the_machine() -> None:
    """One target is deaf for 20 us: its interrupt is there long before its handler begins."""
    timeline = Beside(Asked(), windowed=False)
    one = Shootdowns(timeline)
    machine = small_machine(listeners=[timeline, one])

    def deaf(cpu: Cpu) -> Steps[None]:
        cpu.disable_interrupts()
        cpu.work(20_000 * NS, Activity("deaf"))
        yield cpu.take_pending()
        cpu.enable_interrupts()

    def sends(cpu: Cpu) -> Steps[None]:
        round_ = yield from machine.interrupts.start(cpu, machine.cpus[1:3], lambda target: 0)
        yield from machine.interrupts.finish(round_)

    timeline.run_begins(machine.cpus)
    run(machine, {0: sends, 1: deaf})
    one.run_ends()
    shown = one.found
    assert shown is not None
    told, quick = shown.parts[1], shown.parts[2]
    assert told.begins == 20_000 * NS
    assert told.arrived == quick.arrived == quick.begins
    assert (quick.ends or 0) < 20_000 * NS < (told.ends or 0) <= shown.ended
    assert shown.waited > shown.spent[IPI_SEND]
    text = "\n".join(shootdown_lines(shown, 0, "this"))
    assert "2 other cpus" in text
    (line,) = [line for line in text.splitlines() if line.startswith("  cpu 1")]
    assert line.count("-") > 30
    assert "(cpu 1 answers last)" in text


def test_has_a_shootdown_of_many_a_line_for_a_few_and_the_rest_summed_up(tmp_path: Path) -> None:
    traced = trace_point(point(tmp_path, "linux-6.13", 16, requests=1), Asked(), "longest")
    targets = [line for line in traced.shootdown if "#" in line and line.startswith("  cpu")]
    assert len(targets) == MOST
    (rest,) = [line for line in traced.shootdown if " more " in line]
    assert rest.startswith(("  7 more", "  6 more"))
    nothing = trace_point(point(tmp_path, "linux-6.13", 1), Asked(), "longest")
    assert nothing.shootdown == ("no cpu has called others by IPI there, from begin to end",)
