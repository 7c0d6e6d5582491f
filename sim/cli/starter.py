"""What `cortensim init` writes: a small study of one's own, ready to run and to edit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sim.errors import Fault, InputError
from sim.files import Kind, display, write_atomically, write_schemas

_SCHEMA_FOLDER = "schema"

_MACHINE = """\
name: my-machine
title: epyc-9965-guest with a slower fabric
inherits: epyc-9965-guest
coherence:
  cross_cluster: {value: 190 ns, quality: estimated, source: ME}
  cross_socket: {value: 320 ns, quality: estimated, source: ME}
sources:
  ME: a guess, to be replaced by a measurement
"""
_WORKLOAD = """\
name: my-workload
title: map 64 KiB, use it, unmap it
requests: 32
measured: {first: 16, last: 31}
stack: {size: 8 MiB, touched: 4 pages}
layout: {request: 64 KiB, stride: 2 MiB, order: own}
thread:
  - mmap: {at: anywhere}
  - touch: {at: mapped}
  - munmap: {at: mapped}
placements:
  low: {}
"""
_EXPERIMENT = """\
name: my-experiment
title: Does the fabric matter?
machine: my-machine
designs: [linux-6.13, cortenmm-adv]
workloads: [my-workload]
threads: 1..128 x2
seed: 1
# Any value of a machine, design or workload can be varied by its path:
sweep:
  machine.coherence.cross_socket: [240 ns, 320 ns]
quick: {threads: [1, 16]}
"""
_NOTEBOOK_CELLS = (
    ("markdown", "# Does the fabric matter?\n\nRun the experiment of this folder and look at it."),
    (
        "code",
        'import sim\n\nexperiment = sim.load("./my-experiment.yaml", quick=True)\nlen(experiment.points)',
    ),
    ("code", "points = sim.run(experiment, workers=2)\npoints.head()"),
    ("code", "sim.plot.scalability(points);"),
    ("code", "sim.plot.breakdown(points);"),
)


def write_starter(folder: Path) -> list[Path]:
    """Write the starter to *folder*. Raises `InputError` if it would replace a file."""
    files = {
        "my-machine.yaml": _with_schema("machine", _MACHINE),
        "my-workload.yaml": _with_schema("workload", _WORKLOAD),
        "my-experiment.yaml": _with_schema("experiment", _EXPERIMENT),
        "my-notebook.ipynb": json.dumps(_notebook(), indent=1) + "\n",
    }
    there = [folder / name for name in (*files, _SCHEMA_FOLDER) if (folder / name).exists()]
    if there:
        message = "would be replaced: choose an empty or new folder"
        raise InputError([Fault(message, display(path)) for path in there])
    for name, content in files.items():
        write_atomically(
            folder / name,
            lambda path, content=content: path.write_text(content, encoding="utf-8"),  # type: ignore[misc]
        )
    return [*(folder / name for name in files), *write_schemas(folder / _SCHEMA_FOLDER)]


def _with_schema(kind: Kind, content: str) -> str:
    return f"# yaml-language-server: $schema={_SCHEMA_FOLDER}/{kind}.json\n{content}"


def _notebook() -> dict[str, Any]:
    cells = []
    for number, (kind, source) in enumerate(_NOTEBOOK_CELLS):
        cell: dict[str, Any] = {"id": f"cell-{number}", "cell_type": kind, "metadata": {}}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        cells.append(cell | {"source": source.splitlines(keepends=True)})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
