"""What does a point of a large experiment take up before it runs?"""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import pytest

from sim.experiment import load

VALUES = 400


def bytes_a_point(path: Path, text: str) -> float:
    path.write_text(f"name: {path.stem}\nmachine: epyc-9965\nworkloads: [mmap]\nplacements: [low]\n{text}")
    load(path, {"threads": [1], "sweep": {}, "replicates": 1})  # what is loaded once
    gc.collect()
    tracemalloc.start()
    experiment = load(path)
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    points = len(experiment.points)
    tracemalloc.stop()
    return taken / points


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        (
            f"designs: [linux-6.13]\nthreads: [1]\nsweep: {{machine.tlb.entries: 1001..{1000 + VALUES}}}\n",
            6000,
        ),
        ("designs: [linux-6.13, cortenmm-adv]\nthreads: 1..100\nreplicates: 100\n", 100),
    ],
    ids=["each with a machine of its own", "replicates"],
)
@pytest.mark.slow
def test_is_a_point_lean(tmp_path: Path, text: str, limit: float) -> None:
    assert bytes_a_point(tmp_path / "e.yaml", text) < limit
