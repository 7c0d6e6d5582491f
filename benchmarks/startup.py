"""How long a person waits for the program: start-up, a first small run, and the whole figure of the paper.

Wall time of whole commands: the best of several, for start-up; with another checkout, in turns with it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Final

from benchmarks import checkout
from benchmarks.checkout import ROOT
from benchmarks.options import Options
from benchmarks.table import Row
from benchmarks.timing import in_turns, ratio

TITLE: Final = "Whole commands"
COMMANDS: Final = {
    "`cortensim --version`": ["--version"],
    "`cortensim --help`": ["--help"],
    "`cortensim run quickstart --threads 1`": ["run", "quickstart", "--threads", "1"],
}
FIGURE: Final = ["run", "paper-micro", "--workers", "2"]


def measure(options: Options) -> Iterator[Row]:
    for name, words in COMMANDS.items():
        rounds = 7 if len(words) == 1 else 3
        yield from _rows(name, words, 2 if options.quick else rounds, options, "ms")
    if not options.quick:
        yield from _rows(f"`cortensim {' '.join(FIGURE)}`", FIGURE, 1, options, "s")


def _rows(name: str, words: list[str], rounds: int, options: Options, unit: str) -> Iterator[Row]:
    contestants = {"here": lambda: seconds(ROOT, words)}
    if (against := options.against) is not None:
        contestants["there"] = lambda: seconds(against, words)
    taken = in_turns(contestants, rounds, warm_up=rounds > 1)
    scale, digits = (1e3, 0) if unit == "ms" else (1.0, 1)
    yield Row(name, unit, {}, min(taken["here"]) * scale, digits)
    if against is not None:
        over = f"{name}, over {checkout.name(against)}"
        yield Row(over, "times", {}, ratio(taken["there"], taken["here"]), 2)


def seconds(root: Path, words: list[str]) -> float:
    """Wall time of a command of the checkout in *root*."""
    with tempfile.TemporaryDirectory() as folder:
        out = ["--out", f"{folder}/run"] if words[0] == "run" else []
        command = [sys.executable, "-P", "-m", "sim", *words, *out]
        start = perf_counter()
        subprocess.run(command, cwd=root, env=checkout.environment(root), capture_output=True, check=True)
        return perf_counter() - start
