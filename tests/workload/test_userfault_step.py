"""Do threads with `serve` bring in what others miss, and end when nobody is left?"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from kernels import design
from machines import raw_spec
from plain import measure, workload
from swapping import ZRAM, swap

from sim.engine import Probe
from sim.engine.probe import CpuView
from sim.errors import ModelError
from sim.hardware import MachineSpec
from sim.mm import UffdClose, UffdCopy, UffdRead, UffdRegister, UffdZeropage
from sim.workload import foresee
from sim.workload.demands import lacking


class Asked(Probe):
    """How often each operation was asked for."""

    def __init__(self) -> None:
        self.kinds: Counter[type] = Counter()

    def operation_begins(self, cpu: CpuView, operation: object) -> None:
        self.kinds[type(operation)] += 1


def serving(answer: str = "copy", monitors: int = 1, *, measured: bool = False, **changes: Any) -> Any:
    prepare = [{"mmap": {"at": "anywhere", "size": "4 KiB"}}, {"touch": {"at": "mapped"}}]
    touching = [{"mmap": {"at": "slot"}}, {"userfault": {"at": "slot"}}, {"touch": {"at": "slot"}}]
    return workload(
        stack=None,
        measured=None,
        pooled_threads=None,
        placements={},
        thread=None,
        roles=[
            {
                "count": monitors,
                "measured": measured,
                "prepare": prepare,
                "steps": [{"serve": {"at": "mapped", "with": answer}}],
            },
            {"who": "all", "steps": [*touching, {"munmap": {"at": "slot"}}]},
        ],
        **changes,
    )


@pytest.mark.parametrize(("answer", "kind"), [("copy", UffdCopy), ("zeros", UffdZeropage)])
@pytest.mark.parametrize("monitors", [1, 2])
def test_is_every_page_answered_and_nobody_left_waiting(answer: str, kind: type, monitors: int) -> None:
    asked = Asked()
    spec = serving(answer, monitors)
    measure(spec, "linux", placement="", threads=2 + monitors, probe=asked)
    pages = 2 * 4 * 2  # two threads, four requests of two pages
    assert asked.kinds[UffdRegister] == 8
    assert asked.kinds[kind] == pages
    assert asked.kinds[UffdRead] == pages + monitors
    assert asked.kinds[UffdClose] == 1


def test_does_a_monitor_go_on_after_the_window_until_the_others_have_ended() -> None:
    window = {"warm_up": "50 us", "length": "200 us", "skew": "1 us"}
    assert measure(serving(window=window), "linux", placement="", threads=4).operations > 10


def test_does_a_monitor_that_is_alone_end() -> None:
    with pytest.raises(ModelError, match="measured nothing"):
        measure(serving(measured=True), "linux", placement="", threads=1)


def test_does_a_design_without_userfaultfd_say_so() -> None:
    missing = lacking(design("adv"), serving())
    assert missing == sorted(missing)
    assert "register for userfaults" in missing
    assert "read a userfault" in missing


@pytest.mark.parametrize(("swapped", "fits"), [(0, False), (4096, True)])
def test_is_swap_room_for_what_does_not_fit_into_memory(swapped: int, fits: bool) -> None:
    machine = MachineSpec.model_validate(raw_spec({"memory": {"size_per_socket": "8 MiB"}}))
    spec = workload(thread=[{"mmap": {"at": "anywhere", "size": "5 MiB"}}, {"touch": {"at": "mapped"}}])
    assert (foresee(machine, spec, "low", [1], swapped) is None) is fits


def test_how_many_pages_does_a_design_have_room_for() -> None:
    assert design("linux").swap_pages == 0
    assert design("adv").swap_pages == 0
    assert design("linux", swap(ZRAM, size="32 MiB")).swap_pages == 8192
