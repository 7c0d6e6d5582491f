"""The manifest of a run: what it takes to do it again, and how it went."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sim.experiment import floors, presets
from sim.experiment.files import write_atomically
from sim.experiment.outcome import Outcome
from sim.experiment.plan import Experiment

NAME = "manifest.json"
FORMAT = "cortensim-run"
_LIBRARIES = ("simpy", "numpy", "pandas", "pyarrow", "pydantic", "pyyaml")


def package_version() -> str:
    """The version of this package; `unknown` if it runs from a folder that was never installed."""
    try:
        return version("cortensim")
    except PackageNotFoundError:
        return "unknown"


def describe(experiment: Experiment, shard: tuple[int, int] | None = None) -> dict[str, Any]:
    """The manifest of a run that starts now. *shard* is (index, count); it knows the whole run's order."""
    order = [point.id for point in experiment.points]
    part = {} if shard is None else {"shard": {"index": shard[0], "of": shard[1], "order": order}}
    return {
        "format": FORMAT,
        "format_version": 1,
        "status": "running",
        "experiment": experiment.spec.model_dump(mode="json"),
        "seed": experiment.spec.seed,
        "resolved": {
            f"{kind}s": {member.name: member.document.tree for member in members}
            for kind, members in (
                ("machine", experiment.machines),
                ("design", experiment.designs),
                ("workload", experiment.workloads),
            )
        },
        "files": [asdict(file) for file in experiment.files],
        "model_version": floors.model_version(),
        "versions": {
            "cortensim": package_version(),
            "python": platform.python_version(),
            **{library: _version(library) for library in _LIBRARIES},
        },
        "platform": platform.platform(),
        "git": _git_state(presets.root()),
        "started": _now(),
        "points": {"total": len(experiment.points)},
        **part,
    }


def conclude(
    manifest: dict[str, Any], outcomes: Sequence[Outcome], folder: Path, wall_seconds: float, kept: int
) -> dict[str, Any]:
    """The manifest of the same run at its end. *kept* points were already finished when it was resumed."""
    failed = [outcome for outcome in outcomes if outcome.failed]
    return {
        **manifest,
        "status": "complete",
        "finished": _now(),
        "wall_seconds": round(wall_seconds, 3),
        "points": {"total": len(outcomes), "failed": len(failed), "kept_from_before": kept},
        "events": sum(outcome.row.events or 0 for outcome in outcomes),
        "slowest": [
            {"point": outcome.point_id, "seconds": round(outcome.seconds, 3)}
            for outcome in sorted(outcomes, key=lambda outcome: -outcome.seconds)[:5]
        ],
        "failures": [
            {"point": outcome.point_id, "error": outcome.row.error, "traceback": outcome.trace}
            for outcome in failed
        ],
        "tables": {
            name: sha256((folder / name).read_bytes()).hexdigest()
            for name in ("points.csv", "breakdown.csv", "counters.csv", "locks.csv")
            if (folder / name).exists()
        },
    }


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest of the run in *folder*."""
    text = json.dumps(manifest, indent=2) + "\n"
    write_atomically(folder / NAME, lambda path: path.write_text(text, encoding="utf-8"))


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of the run in *folder*; None if there is none that this package wrote."""
    try:
        manifest = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and manifest.get("format") == FORMAT else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _git_state(folder: Path) -> dict[str, Any] | None:
    """Commit and cleanliness of the checkout this code runs from; None if it is installed."""
    if not (folder / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None
