"""Do the applications on board do what their files say? How they scale is in validation."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import pytest

from sim.designs import DesignSpec
from sim.engine import Probe
from sim.engine.probe import CpuView
from sim.files import load_spec, presets
from sim.hardware import MachineSpec
from sim.workload import Budget, Measurement, WorkloadSpec, simulate


class Asked(Probe):
    def __init__(self) -> None:
        self.times: Counter[str] = Counter()

    def operation_begins(self, cpu: CpuView, operation: Any) -> None:
        self.times[operation.name] += 1


def preset(kind: Any, name: str) -> Any:
    return load_spec(kind, cast(Any, presets.find(kind, name, None)), []).spec


def run(workload: str, design: str, threads: int, probe: Probe) -> Measurement:
    return simulate(
        cast(MachineSpec, preset("machine", "epyc-9965-guest")),
        cast(DesignSpec, preset("design", design)),
        cast(WorkloadSpec, preset("workload", workload)),
        placement="",
        threads=threads,
        seed=1,
        budget=Budget(events=3_000_000, simulated_ps=10**13),
        probe=probe,
    )


@pytest.mark.parametrize("design", ["linux-6.13", "cortenmm-adv"])
def test_every_second_chunk_of_dedup_trims_three_times(design: str) -> None:
    """As the program does that was run: 1.6 madvise a chunk, of 65536, 65536, and 4096 bytes or 8192."""
    asked = Asked()
    found = run("dedup-ptmalloc", design, 4, asked)
    chunks = found.operations * 16 / 10  # the warm-up too
    assert asked.times["madvise"] / chunks == pytest.approx(1.6, rel=0.35)


def test_dedup_asks_nothing_more_with_tcmalloc_once_its_caches_are_full() -> None:
    asked = Asked()
    run("dedup-tcmalloc", "linux-6.13", 2, asked)
    assert asked.times["madvise"] == asked.times["munmap"] == 0


def test_metis_faults_eleven_pages_an_operation_and_gives_none_back() -> None:
    asked = Asked()
    found = run("metis", "cortenmm-adv", 2, asked)
    assert asked.times["munmap"] == asked.times["madvise"] == 0
    assert found.breakdown_ns_per_op["fault entry"] > 0


def test_parsec_hardly_notices_the_kernel() -> None:
    linux, corten = (run("parsec", design, 2, Probe()) for design in ("linux-6.13", "cortenmm-adv"))
    assert corten.throughput_ops_per_us / linux.throughput_ops_per_us == pytest.approx(1, abs=0.05)
