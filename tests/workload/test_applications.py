"""Do the applications on board do what their files say? How they scale is in validation."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import pytest

from sim.designs import DesignSpec
from sim.engine import Probe
from sim.engine.probe import CpuView
from sim.files import from_mapping, load_spec, presets
from sim.hardware import MachineSpec
from sim.workload import Budget, Measurement, WorkloadSpec, simulate


class Asked(Probe):
    """What was asked of the kernel, from the start of the threads on."""

    def __init__(self) -> None:
        self.times: Counter[str] = Counter()

    def run_begins(self, cpus: object) -> None:
        self.times.clear()

    def operation_begins(self, cpu: CpuView, operation: Any) -> None:
        self.times[operation.name] += 1


def preset(kind: Any, name: str, **changes: Any) -> Any:
    overrides = from_mapping({f"{kind}.{path}": value for path, value in changes.items()})
    return load_spec(kind, cast(Any, presets.find(kind, name, None)), overrides).spec


def run(
    workload: str, design: str, threads: int, probe: Probe, placement: str = "", **changes: Any
) -> Measurement:
    """Run it with *changes* of its file, by path."""
    return simulate(
        cast(MachineSpec, preset("machine", "epyc-9965-guest")),
        cast(DesignSpec, preset("design", design)),
        cast(WorkloadSpec, preset("workload", workload, **changes)),
        placement=placement,
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


@pytest.mark.parametrize("design", ["linux-6.13", "cortenmm-adv"])
def test_psearchy_faults_ten_pages_an_operation(design: str) -> None:
    asked = Asked()
    found = run("psearchy-ptmalloc", design, 2, asked, "share-of-384", **{"parameters.mappings": 0})
    operations = found.operations * 32 / 24  # the warm-up too
    assert asked.times["touch"] == pytest.approx(operations, rel=0.1)
    assert found.breakdown_ns_per_op["zero"] == pytest.approx(10 * 300, rel=0.05)


def test_arrays_of_psearchy_are_mappings_that_come_and_go_with_ptmalloc() -> None:
    asked = Asked()
    run("psearchy-ptmalloc", "linux-6.13", 2, asked, "share-of-384", **{"parameters.mappings": 1})
    assert asked.times["mmap"] == asked.times["munmap"] > 48


def test_and_stay_in_the_page_heap_of_tcmalloc() -> None:
    asked = Asked()
    run("psearchy-tcmalloc", "linux-6.13", 2, asked, "share-of-384", **{"parameters.mappings": 1})
    assert asked.times["munmap"] == 0
    assert 0 < asked.times["brk"] <= 4


def test_a_thread_of_psearchy_that_has_more_text_works_more_between_faults() -> None:
    less, more = (run("psearchy-ptmalloc", "cortenmm-adv", 1, Probe(), f"share-of-{n}") for n in (384, 16))
    text = more.breakdown_ns_per_op["user"] - less.breakdown_ns_per_op["user"]
    assert text == pytest.approx(23 * 14000 / 2.25, rel=0.01)


@pytest.mark.parametrize("design", ["linux-6.13", "cortenmm-adv", "cortenmm-adv-array"])
def test_mem_usage_takes_a_table_for_2_mib_and_a_vma_for_all(design: str) -> None:
    """Two threads, 4096 pages: 16 MiB in eight tables, and what holds them."""
    changes = {"requests": 2048, "layout.stride": "8 MiB"}
    found = run("mem-usage", design, 2, Probe(), **changes)
    without = run("mem-usage", design, 2, Probe(), **changes | {"requests": 1})
    assert found.memory is not None
    assert without.memory is not None
    tables = found.memory.end["page_table"] - without.memory.end["page_table"]
    assert tables == (8 - 2) * 4096  # two are there for the first page of each thread
    vmas = found.memory.end["vma"]
    assert vmas == without.memory.end["vma"]
    assert (5 * 256 < vmas < 5 * 1024) if design == "linux-6.13" else vmas == 0  # one, and two for each stack
    metadata = found.memory.end["metadata"] - without.memory.end["metadata"]
    assert metadata == (6 * 4096 if design == "cortenmm-adv-array" else 0)


WINDOWS = {
    "dedup-ptmalloc": ("", "10 requests", "20 requests"),
    "dedup-tcmalloc": ("", "10 requests", "20 requests"),
    "jvm-threads": ("", "16 requests", "32 requests"),
    "metis": ("", "24 requests", "48 requests"),
    "parsec": ("", "64 requests", "128 requests"),
    "psearchy-ptmalloc": ("share-of-384", "24 requests", "48 requests"),
    "psearchy-tcmalloc": ("share-of-384", "24 requests", "48 requests"),
}


@pytest.mark.ci
@pytest.mark.parametrize("design", ["linux-6.13", "cortenmm-adv"])
@pytest.mark.parametrize("workload", WINDOWS)
def test_a_window_twice_as_long_gives_the_same_throughput(workload: str, design: str) -> None:
    placement, *lengths = WINDOWS[workload]
    shorter, longer = (
        run(workload, design, 4, Probe(), placement, **{"window.length": length}).throughput_ops_per_us
        for length in lengths
    )
    assert longer / shorter == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("design", ["linux-6.13", "cortenmm-adv"])
@pytest.mark.parametrize(("workload", "each"), [("fork", (1, 0)), ("exec", (1, 1)), ("shell", (2, 2))])
def test_lmbench_forks_and_executes_as_often_as_it_says(
    workload: str, each: tuple[int, int], design: str
) -> None:
    asked = Asked()
    one_round = {"window.warm_up": "1 requests", "window.length": "1 requests"}
    found = run(f"lmbench-{workload}", design, 1, asked, **one_round)
    rounds = asked.times["exit"] / each[0]
    assert rounds >= 2
    assert (asked.times["fork"], asked.times["exec"]) == (each[0] * rounds, each[1] * rounds)
    assert found.breakdown_ns_per_op["wait: child"] > 0


def test_a_shell_takes_longer_than_its_program_and_that_longer_than_a_fork() -> None:
    """What lmbench's three tests of processes are known for, by a factor of two or more each."""
    fork, program, shell = (
        run(f"lmbench-{name}", "linux-6.13", 1, Probe()).latency_mean_ns for name in ("fork", "exec", "shell")
    )
    assert program > 2 * fork
    assert shell > 2 * program
