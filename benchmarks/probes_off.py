"""What do probes cost a run to which nobody listens? `python -m benchmarks.probes_off`

A copy of the model is made from whose source every hook that only a listener would hear and every question
whether somebody listens are taken out; a verb of a lock, which asks that, is its own steps there. Both
simulate the same points and must have the same events. The counts are of instructions (valgrind's callgrind),
which noise does not change, or with `--time` the least cpu time of so many pairs.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Final

from sim.engine.probe import HOOKS, Probe
from sim.workload.tally import Tally

ROOT: Final = Path(__file__).resolve().parents[1]
COUNTED: Final = {hook for hook in HOOKS if getattr(Tally, hook) is not getattr(Probe, hook)}
"""What every run counts: these hooks are heard always, and stay."""
POINTS: Final = [
    ("linux-6.13", "pf", "low", 16),
    ("linux-6.13", "unmap", "high", 16),
    ("cortenmm-adv", "pf", "low", 16),
    ("cortenmm-adv", "unmap", "high", 16),
]
RUN: Final = """
import gc, sys, time
gc.disable()  # a collection that falls into the one and not into the other is no cost of either
from sim.experiment import load, run_point
design, workload, placement, threads = sys.argv[1:]
experiment = load("paper-micro", {
    "designs": [design], "workloads": [workload], "placements": [placement], "threads": [int(threads)]
})
(point,) = experiment.points
for _ in range(int(TIMES)):
    before = time.process_time()
    row = run_point(point).row
    print(row.events, time.process_time() - before)
"""


class _WithoutProbes(ast.NodeTransformer):
    """Takes out what is there for listeners only, and counts how much that was.

    *verbs* are those of all locks, such as `acquire`, whose steps are `_acquire`.
    """

    def __init__(self, verbs: Set[str]) -> None:
        self.taken = 0
        self._verbs = verbs

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Where a class says what the steps of a verb are, the verb is these steps."""
        self.generic_visit(node)
        there = {part.name for part in node.body if isinstance(part, ast.FunctionDef) and not _is_verb(part)}
        self.taken += sum(map(_is_verb, node.body))
        node.body = [part for part in node.body if not _is_verb(part)]
        for verb in sorted(self._verbs - there):
            if f"_{verb}" in there:
                node.body += ast.parse(f"{verb} = _{verb}").body
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        call = node.value
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr in HOOKS
            and call.func.attr not in COUNTED
            and re.search(r"\bprobe$", ast.unparse(call.func.value))
        ):
            self.taken += 1
            return ast.copy_location(ast.Pass(), node)
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        if _asks(node.test):
            self.taken += 1
            return node.orelse or ast.copy_location(ast.Pass(), node)
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        if _asks(node.test):
            self.taken += 1
            return node.orelse
        return node


def _asks(test: ast.expr) -> bool:
    return re.search(r"probe\.hears\w*", ast.unparse(test)) is not None


def _is_verb(node: ast.AST) -> bool:
    """Whether it is a verb of a lock, which is its own steps while nobody listens."""
    if not isinstance(node, ast.FunctionDef):
        return False
    match node.body[-1]:
        case ast.Return(ast.IfExp(ast.Attribute(attr="plain_locks"), ast.Name("steps"))):
            return True
    return False


def without_probes(folder: Path) -> int:
    """A copy of the package in *folder* without probes; value: how many places were changed."""
    copy = folder / "sim"
    shutil.copytree(ROOT / "sim", copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("configs", "workloads", "docs"):
        (folder / name).symlink_to(ROOT / name)
    trees = {
        path: ast.parse(path.read_text(encoding="utf-8"))
        for part in ("engine", "hardware", "sync", "mm", "designs", "workload")
        for path in sorted((copy / part).rglob("*.py"))
        if path.name != "probe.py"
    }
    nodes = (node for tree in trees.values() for node in ast.walk(tree))
    transformer = _WithoutProbes({node.name for node in nodes if _is_verb(node)})
    for path, tree in trees.items():
        changed = ast.fix_missing_locations(transformer.visit(tree))
        path.write_text(ast.unparse(changed), encoding="utf-8")
    return transformer.taken


def simulate(
    package: Path, point: tuple[str, str, str, int], *before: str, times: int = 1
) -> tuple[int, float, str]:
    """Simulate *point* with the model in *package*; value: its events, the least cpu time (s), and stderr."""
    done = subprocess.run(
        [*before, sys.executable, "-c", RUN.replace("TIMES", str(times)), *map(str, point)],
        cwd=package,
        env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    return int(rows[0][0]), min(float(row[1]) for row in rows), done.stderr


def instructions(package: Path, point: tuple[str, str, str, int]) -> tuple[int, int]:
    """Events, and instructions of a second simulation of *point*: what remains if one is taken from two."""
    counted = []
    for times in (1, 2):
        tool = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
        events, _, said = simulate(package, point, *tool, times=times)
        (total,) = re.findall(r"Collected : (\d+)", said)
        counted.append(int(total))
    return events, counted[1] - counted[0]


def compared(plain: Path, stripped: Path, pairs: int | None) -> Iterator[str]:
    for point in POINTS:
        if pairs is None:
            (events, with_), (same, without) = instructions(plain, point), instructions(stripped, point)
            unit = "M instructions"
            values = with_ / 1e6, without / 1e6
        else:
            runs = [(simulate(plain, point), simulate(stripped, point)) for _ in range(pairs)]
            events, same = runs[0][0][0], runs[0][1][0]
            values = min(a[1] for a, _ in runs), min(b[1] for _, b in runs)
            unit = "s"
        if events != same:
            raise SystemExit(f"{point}: {events} events with probes, {same} without")
        name = "{} {} {} x{}".format(*point)
        yield f"{name:<32}{values[0]:>12,.2f}{values[1]:>12,.2f} {unit}   {values[0] / values[1] - 1:+.2%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--time", type=int, metavar="PAIRS", help="least cpu time of so many pairs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        taken = without_probes(Path(folder))
        print(f"{taken} places without probes; point, with, without, difference")
        for line in compared(ROOT, Path(folder), arguments.time):
            print(line, flush=True)


if __name__ == "__main__":
    main()
