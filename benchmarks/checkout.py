"""This checkout, or another one of the project, to simulate points with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

ROOT: Final = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Answer:
    """What one point took. *seconds*: cpu time of each simulation. *peak*: the largest resident set of the
    process so far, *before* what it was before the first simulation (bytes)."""

    seconds: Sequence[float]
    operations: int
    events: int
    before: int
    peak: int


def environment(root: Path) -> dict[str, str]:
    """Variables with which this interpreter takes `sim` from the checkout in *root*."""
    return {**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": "0"}


def name(root: Path) -> str:
    """The commit of the checkout in *root*, or the folder's name."""
    done = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--dirty=+"], capture_output=True, text=True
    )
    return done.stdout.strip() or root.name


class Worker:
    """A process that simulates points with the model of the checkout in *root*."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("worker.py"))],
            cwd=self.root,
            env=environment(self.root),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # it has ended already, over a point that failed
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def simulate(
        self, changes: Mapping[str, object], experiment: str = "paper-micro", times: int = 1
    ) -> Answer:
        """The one point of *experiment* with *changes*, *times* over. Raises `RuntimeError` if it fails."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"experiment": experiment, "changes": dict(changes), "times": times}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.root}: no answer to {request}")
        return Answer(**json.loads(line))
