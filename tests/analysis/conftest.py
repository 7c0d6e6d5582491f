"""Hand-made runs: frames in the shape of `points.csv` and `breakdown.csv` with curves chosen by the test."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from hashlib import sha256
from math import log2
from pathlib import Path

import pandas as pd
import pytest

from sim.experiment.results.manifest import FORMAT, FORMAT_VERSION

WORKLOADS = ("mmap", "mmap-pf", "pf", "unmap-virt", "unmap")
THREADS = (1, 2, 4, 8, 16, 32, 64, 128, 192, 256, 320, 384)
DESIGNS = ("linux-6.13", "cortenmm-rw", "cortenmm-adv")

Curve = Callable[[str, str, str, int], float]


def textbook(design: str, workload: str, placement: str, threads: int) -> float:
    """Curves like the paper's: Linux flat, rw somewhat serial, adv linear (or flat after 64 in high)."""
    one = 0.4 + 0.3 * WORKLOADS.index(workload) if workload in WORKLOADS else 1.0
    if design.startswith("linux"):
        return one * threads ** (0.35 if workload == "pf" else -0.2)
    if design == "cortenmm-rw":
        return 1.2 * one * threads / (1 + 0.02 * (threads - 1))
    return 1.5 * one * (min(threads, 64) if placement == "high" else threads)


def make_points(
    designs: Sequence[str] = DESIGNS,
    workloads: Sequence[str] = WORKLOADS,
    placements: Sequence[str] = ("low", "high"),
    threads: Sequence[int] = THREADS,
    replicates: int = 1,
    machine: str = "epyc-9965-guest",
    curve: Curve = textbook,
) -> pd.DataFrame:
    rows = [
        {
            "design": design,
            "machine": machine,
            "workload": workload,
            "placement": placement,
            "threads": count,
            "seed": 100 + replicate,
            "replicate": replicate,
            "throughput_ops_per_us": curve(design, workload, placement, count) * (1 + 0.04 * replicate),
            "throughput_from_latency_ops_per_us": curve(design, workload, placement, count),
            "latency_mean_ns": 1000 * count / curve(design, workload, placement, count),
            "latency_p50_ns": 1000 * count / curve(design, workload, placement, count),
            "latency_p95_ns": 1100 * count / curve(design, workload, placement, count),
            "latency_p99_ns": 1200 * count / curve(design, workload, placement, count),
            "idle_share": 0.25,
            "interrupts_per_flush": float("nan"),
            "context_switches_per_op": 0.5,
            "simulated_ns": 1e6,
            "operations": 1000,
            "events": 5000,
            "status": "ok",
            "error": "",
        }
        for design in designs
        for workload in workloads
        for placement in placements
        for count in threads
        for replicate in range(replicates)
    ]
    return pd.DataFrame(rows)


def make_breakdown(points: pd.DataFrame) -> pd.DataFrame:
    """Own work stays what it is; what a thread takes longer than alone is waiting, mostly for one lock."""
    own = {
        "user": 40.0, "syscall": 60.0, "fault entry": 90.0, "vma": 150.0, "page table": 120.0,
        "allocate": 80.0, "zero": 70.0, "cache line": 30.0,
    }  # fmt: skip
    rows = []
    for point in points.to_dict("records"):
        corten = point["design"].startswith("cortenmm")
        waits = log2(point["threads"]) * (20 if corten else 9000)
        waiting = {
            "lock: mmap_lock": 0.0 if corten else 0.8 * waits,
            "lock: vma": 0.0 if corten else 0.05 * waits,
            "lock: page table": 0.8 * waits if corten else 0.0,
            "lock: zone": 0.1 * waits,
            "lock: lru": 0.05 * waits,
            "tlb flush": 25.0 if point["workload"] == "unmap" else 0.0,
            "ipi wait": 0.3 * waits if point["workload"] == "unmap" else 0.0,
            "idle": 5.0,
            "lru": 20.0,
            "sched": 1.0,
        }
        keys = {
            k: point[k]
            for k in ("design", "machine", "workload", "placement", "threads", "seed", "replicate")
        }
        rows += [{**keys, "activity": name, "ns_per_op": ns} for name, ns in {**own, **waiting}.items()]
    return pd.DataFrame(rows)


@pytest.fixture(scope="session")
def points() -> pd.DataFrame:
    return make_points()


@pytest.fixture(scope="session")
def breakdown(points: pd.DataFrame) -> pd.DataFrame:
    return make_breakdown(points)


@pytest.fixture(name="make_points", scope="session")
def make_points_fixture() -> Callable[..., pd.DataFrame]:
    return make_points


@pytest.fixture(name="make_breakdown", scope="session")
def make_breakdown_fixture() -> Callable[[pd.DataFrame], pd.DataFrame]:
    return make_breakdown


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run directory as `cortensim run` does."""

    def write(points: pd.DataFrame, breakdown: pd.DataFrame | None = None) -> Path:
        run_dir = tmp_path / "my-run"
        run_dir.mkdir()
        points.to_csv(run_dir / "points.csv", index=False)
        table = breakdown if breakdown is not None else make_breakdown(points.head(1))
        table.to_csv(run_dir / "breakdown.csv", index=False)
        manifest = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "status": "complete",
            "experiment": {"name": "paper-micro", "title": "The paper's micro-benchmarks"},
            "points": {"total": len(points)},
            "tables": {
                name: {"sha256": sha256((run_dir / name).read_bytes()).hexdigest(), "rows": len(frame)}
                for name, frame in (("points.csv", points), ("breakdown.csv", table))
            },
        }
        (run_dir / "manifest.json").write_text(json.dumps(manifest))
        return run_dir

    return write
