"""What does a sweep cost beside its simulations, and what does a second worker give?"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import fakes
import pytest

from sim.experiment import load, run

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.mark.usefixtures("house")
@pytest.mark.parametrize("workers", [1, 2])
def test_does_a_tiny_point_cost_five_milliseconds_at_most(workers: int) -> None:
    points = load("pair", {"replicates": 125})
    assert len(points.points) == 2000
    started = time.perf_counter()
    run(points, out="out", workers=workers, task=fakes.measure)
    milliseconds = (time.perf_counter() - started) * 1000 / 2000
    print(f"\n{workers} workers: {milliseconds:.2f} ms a point")
    assert milliseconds <= 5


def sweep(workers: int, out: Path) -> tuple[float, float]:
    """Seconds of a real sweep: those on the wall, and those of its points, added up."""
    command = [
        sys.executable, "-m", "sim", "run", "quickstart", "--threads", "32,64,96,128", "--no-plots",
        "--set", "replicates=4", "--workers", str(workers), "--out", str(out),
    ]  # fmt: skip
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    wall = json.loads((out / "manifest.json").read_text())["wall_seconds"]
    records = [
        json.loads(line.partition(" ")[2]) for line in (out / "journal.jsonl").read_text().splitlines()
    ]
    return wall, sum(record["seconds"] for record in records)


def test_are_two_workers_kept_busy(tmp_path: Path) -> None:
    """Holds on a loaded machine, too, where a point takes longer and so does the sweep."""
    wall, work = sweep(2, tmp_path / "run")
    print(f"\n{work:.1f} s of points in {wall:.1f} s: {work / wall:.2f} workers busy")
    assert work / wall >= 1.85


def test_are_two_workers_nearly_twice_as_fast_as_one(tmp_path: Path) -> None:
    if free_cpus() < 1.95:
        pytest.skip("needs two cpus of its own")
    one, two = (sweep(workers, tmp_path / str(workers))[0] for workers in (1, 2))
    print(f"\none worker {one:.2f} s, two {two:.2f} s: {one / two:.2f} times as fast")
    assert one / two >= 1.85


def free_cpus() -> float:
    """How much two processes that only compute get done beside each other, as multiples of one."""
    burn = [sys.executable, "-c", "for _ in range(30_000_000): pass"]

    def seconds(count: int) -> float:
        started = time.perf_counter()
        processes = [subprocess.Popen(burn) for _ in range(count)]
        for process in processes:
            process.wait()
        return time.perf_counter() - started

    return 2 * seconds(1) / seconds(2)


@pytest.mark.parametrize(
    ("arguments", "limit_ms"),
    [(["--help"], 200), (["check", "configs/experiments/paper/paper-micro.yaml"], 400)],
)
def test_is_the_command_line_instant(arguments: list[str], limit_ms: float) -> None:
    times = []
    for _ in range(9):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "sim", *arguments], cwd=ROOT, capture_output=True, check=True)
        times.append((time.perf_counter() - started) * 1000)
    print(f"\n{arguments[0]}: {statistics.median(times):.0f} ms")
    assert statistics.median(times) < limit_ms
