"""Instructions of some small simulations, and whether they have become more: a check that no noise disturbs.

valgrind counts the instructions of the second simulation of each. Noise does not change such a count, but the
build of the interpreter does. So what is kept (`instructions.json`) and compared is the count in units of a
yardstick, a loop of plain Python that is counted in the same process: how much work the model is for this
interpreter. It is kept for each minor version of Python, interpreted and compiled apart. A job that has other
events than before is not the same work, and must be kept anew.
"""

from __future__ import annotations

import json
import os
import pickle
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import host, native
from benchmarks.checkout import ROOT
from benchmarks.counted import YARDSTICK
from benchmarks.options import Options
from benchmarks.table import Row

TITLE: Final = "Instructions"
KEPT: Final = Path(__file__).with_name("instructions.json")
MAY_GROW: Final = 0.03
"""The share by which a job may take more yardsticks than what is kept of it."""

POINTS: Final = (
    ("linux-6.13", "mmap-pf", 2),
    ("linux-6.13", "unmap", 2),
    ("cortenmm-rw", "pf", 4),
    ("cortenmm-adv", "unmap-virt", 4),
)


@dataclass(frozen=True)
class Count:
    """What one job took: its events, and its instructions in yardsticks."""

    events: int
    yardsticks: float


Counts = dict[str, Count]


class CannotCount(Exception):
    """Why this machine cannot count instructions."""


def kind() -> str:
    """Of counts that may be compared: `CPython 3.11, x86_64, interpreted`."""
    return f"{host.interpreter()}, {platform.machine()}, {host.mode()}"


def count() -> tuple[int, Counts]:
    """The instructions of the yardstick, and what each job took. Raises `CannotCount`."""
    if shutil.which("valgrind") is None:
        raise CannotCount("valgrind is not there")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = native.build("counting", folder, "-shared", "-fPIC")
        if library is None:
            raise CannotCount("no C++ compiler, or no headers of valgrind")
        specs = folder / "specs"
        specs.write_bytes(pickle.dumps(_specs()))
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/counts",
             sys.executable, "-m", "benchmarks.counted", str(library), str(specs)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
        )  # fmt: skip
        if done.returncode:
            raise CannotCount(f"valgrind failed:\n{done.stderr[-2000:]}")
        found = {}
        for number, line in enumerate(done.stdout.splitlines(), 1):
            events, _, job = line.partition(" ")
            said = (folder / f"counts.{number}").read_text(encoding="utf-8")
            (total,) = re.findall(r"^(?:totals|summary): (\d+)$", said, re.M)[:1]
            found[job] = int(events), int(total)
    _, yardstick = found.pop(YARDSTICK)
    return yardstick, {
        job: Count(events, round(total / yardstick, 3)) for job, (events, total) in found.items()
    }


def _specs() -> dict[str, Any]:
    from sim.experiment import load
    from sim.files import load_spec

    specs: dict[str, Any] = {"16 shootdowns of 32 cpus": load_spec("machine", "epyc-9965").spec}
    for design, workload, cpus in POINTS:
        changes = {
            "designs": [design], "workloads": [workload], "placements": ["low"], "threads": [cpus],
            "workload.pooled_threads": 1,  # one machine, where the experiment repeats so few threads
        }  # fmt: skip
        (point,) = load("paper-micro", changes).points
        specs[f"{design}, {workload}, {cpus} cpus"] = (
            point.machine_spec, point.design_spec, point.workload_spec, point.placement, cpus, point.seed,
        )  # fmt: skip
    return specs


def read(path: Path = KEPT) -> dict[str, Counts]:
    """What is kept, by kind."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {kind: {job: Count(**values) for job, values in counts.items()} for kind, counts in kept.items()}


def keep(counts: Mapping[str, Count], path: Path = KEPT) -> None:
    """Keep *counts* as those of this interpreter."""
    kept = dict(sorted({**read(path), kind(): dict(counts)}.items()))
    text = json.dumps(
        {kind: {job: asdict(values) for job, values in counts.items()} for kind, counts in kept.items()},
        indent=1,
    )
    path.write_text(text + "\n", encoding="utf-8")


def grown(kept: Mapping[str, Count], now: Mapping[str, Count]) -> list[str]:
    """What is wrong with the counts of *now* beside those *kept*, a sentence each."""
    faults = [f"{job}: it was kept, and is counted no more" for job in kept if job not in now]
    for job, count in now.items():
        before = kept.get(job)
        if before is None:
            faults.append(f"{job}: nothing is kept of it")
        elif before.events != count.events:
            faults.append(f"{job}: {count.events} events instead of {before.events}; it is not the same work")
        elif count.yardsticks > before.yardsticks * (1 + MAY_GROW):
            growth = count.yardsticks / before.yardsticks - 1
            faults.append(
                f"{job}: {count.yardsticks} yardsticks instead of {before.yardsticks}, {growth:+.1%}"
                f" (at most {MAY_GROW:+.0%})"
            )
    return faults


def measure(options: Options) -> Iterator[Row]:
    try:
        yardstick, counts = count()
    except CannotCount as reason:
        yield Row(f"left out: {reason}", "")
        return
    yield Row(YARDSTICK, "million", {}, yardstick / 1e6, 1)
    for job, counted in counts.items():
        yield Row(job, "yardsticks", {}, counted.yardsticks, 2)
