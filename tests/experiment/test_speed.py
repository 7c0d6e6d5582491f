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

from sim.experiment.plan import load
from sim.experiment.sweep import run

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


def test_are_two_workers_nearly_twice_as_fast_as_one(tmp_path: Path) -> None:
    """The best of three for each: other work on the machine only ever makes a run slower."""

    def seconds(workers: int, attempt: int) -> float:
        out = tmp_path / f"{workers}-{attempt}"
        command = [
            sys.executable, "-m", "sim", "run", "quickstart", "--threads", "32,64,96,128", "--no-plots",
            "--workers", str(workers), "--out", str(out),
        ]  # fmt: skip
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        return float(json.loads((out / "manifest.json").read_text())["wall_seconds"])

    one, two = (min(seconds(workers, attempt) for attempt in range(3)) for workers in (1, 2))
    print(f"\none worker {one:.2f} s, two {two:.2f} s: {one / two:.2f} times as fast")
    assert one / two >= 1.85


@pytest.mark.parametrize(
    ("arguments", "limit_ms"), [(["--help"], 200), (["check", "configs/experiments/paper-micro.yaml"], 400)]
)
def test_is_the_command_line_instant(arguments: list[str], limit_ms: float) -> None:
    times = []
    for _ in range(9):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "sim", *arguments], cwd=ROOT, capture_output=True, check=True)
        times.append((time.perf_counter() - started) * 1000)
    print(f"\n{arguments[0]}: {statistics.median(times):.0f} ms")
    assert statistics.median(times) < limit_ms
