"""Is the end state of every run held against the invariants? Listeners break it when threads have ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from kernels import KINDS
from machines import raw_spec
from plain import BUDGET, measure

from sim.designs import spec_model
from sim.engine import Probe
from sim.files import load_spec
from sim.hardware import MachineSpec
from sim.mm import BrokenInvariant
from sim.workload import Measurement, WorkloadSpec, simulate


class Breaks(Probe):
    """Puts a translation to frame 99 into a TLB, for the space that is loaded or for one that was *left*."""

    def __init__(self, *, left: bool = False) -> None:
        self._left = left
        self._cpus: Sequence[Any] = ()

    def run_begins(self, cpus: Sequence[Any]) -> None:
        self._cpus = cpus

    def run_ends(self) -> None:
        tlb = next(cpu.tlb for cpu in self._cpus if not cpu.tlb.stale)
        loaded = tlb.asid
        if self._left:
            assert tlb.frames(1 - loaded)
            tlb.load(1 - loaded, flush=False)
        tlb.fill(5, 99, writable=False)
        if self._left:
            tlb.load(loaded, flush=False)


@pytest.mark.parametrize("kind", KINDS)
def test_is_a_run_with_a_wrong_end_state_an_error(kind: str) -> None:
    measure(kind=kind, threads=2)
    with pytest.raises(BrokenInvariant, match=r"cpu \d can still translate page 0x5 to frame 99"):
        measure(kind=kind, threads=2, probe=Breaks())


def run(design: Any, steps: list[dict[str, Any]], probe: Probe | None = None, **fields: Any) -> Measurement:
    """Two threads that do *steps* three times."""
    raw = {"name": "w", "title": "", "requests": 3, "roles": [{"who": "all", "steps": steps}], **fields}
    tlb = {"entries": 64, "pcid": True, "switch": "50 ns"}
    return simulate(
        MachineSpec.model_validate(raw_spec({"tlb": tlb})),
        design,
        WorkloadSpec.model_validate(raw, strict=False),
        placement="",
        threads=2,
        seed=1,
        budget=BUDGET,
        probe=probe or Probe(),
    )


@pytest.mark.parametrize("left", [False, True])
def test_are_spaces_checked_that_cpus_have_left(left: bool) -> None:
    """Two processes, each with a number of its own on each cpu."""
    flush = {"method": "ipi", "concurrent": True, "asids": 2}
    design = spec_model("bench").model_validate({"name": "t", "title": "", "family": "bench", "flush": flush})
    steps: list[dict[str, Any]] = [{"switch_mm": "next"}, {"touch": {"at": "slot"}}]
    spaces = {
        "processes": 2,
        "layout": {"request": "4 pages", "stride": "4 pages", "slots": 1},
        "setup": [{"mmap": {"at": "layout"}}],
    }
    run(design, steps, **spaces)
    with pytest.raises(BrokenInvariant, match=r"cpu \d can still translate page 0x5 to frame 99"):
        run(design, steps, Breaks(left=left), **spaces)


@pytest.mark.parametrize("design", ["linux-buddy", "llfree"])
def test_may_a_thread_keep_blocks_of_pages(design: str) -> None:
    """Each request allocates three blocks and frees one."""
    steps: list[dict[str, Any]] = [{"allocate": {"count": 3, "order": 2}}, {"free": {"count": 1, "order": 2}}]
    assert run(load_spec("design", design).spec, steps).operations > 0
