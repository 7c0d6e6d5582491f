"""The manifest of a run: what it takes to do it again, and how it went.

It carries the version of the folder's format. Version 1 had no checksum of `points.parquet` and no numbers of
rows; it is still read. A newer version than ours is refused: nobody here knows what it means.
"""

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
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sim.errors import Fault, InputError
from sim.experiment import model
from sim.experiment.plan import Experiment
from sim.experiment.results.outcome import Outcome
from sim.files import display, presets, read_regular, reason, write_atomically
from sim.plugins import GROUPS

NAME = "manifest.json"
FORMAT = "cortensim-run"
FORMAT_VERSION = 2
_REMEDY = "`cortensim run EXPERIMENT --out DIR --resume`, which writes it again"
_ELSEWHERE = "another folder, or move this file away"
_LIBRARIES = ("simpy", "numpy", "pandas", "pyarrow", "pydantic", "pyyaml")


class Damaged(InputError):
    """A manifest that cannot be read because it was cut or changed, which a run that goes on can mend."""


class _Record(BaseModel):
    """What a manifest says; keys that nothing here reads are kept in `Manifest.content`."""

    model_config = ConfigDict(frozen=True, strict=True)


class ShardPart(_Record):
    """Which part of a sweep a folder holds, and the ids of all its points in order."""

    index: Annotated[int, Field(ge=1)]
    of: Annotated[int, Field(ge=1)]
    order: list[str]


class WrittenTable(_Record):
    """A table as it was when the run ended; version 1 does not know its *rows*."""

    sha256: str
    rows: int | None = None


class _Named(_Record):
    name: str
    title: str = ""


class _Counts(_Record):
    total: Annotated[int, Field(ge=0)]
    failed: Annotated[int, Field(ge=0)] = 0


class Manifest(_Record):
    """A manifest that was read. *content* is all of it, as a JSON object."""

    format_version: Annotated[int, Field(ge=1)]
    status: Literal["running", "complete"]
    experiment: _Named
    points: _Counts
    shard: ShardPart | None = None
    tables: dict[str, WrittenTable] = {}
    content: dict[str, Any]

    @property
    def finished_well(self) -> int:
        """How many points have measurements in the tables."""
        return self.points.total - self.points.failed if self.status == "complete" else 0


def package_version() -> str:
    """The version of this package; `unknown` if it runs from a folder that was never installed."""
    try:
        return version("cortensim")
    except PackageNotFoundError:
        return "unknown"


def describe_run(experiment: Experiment, shard: tuple[int, int] | None = None) -> dict[str, Any]:
    """The manifest of a run that starts now. *shard* is (index, count); it knows the whole run's order."""
    order = [point.id for point in experiment.points]
    part = {} if shard is None else {"shard": {"index": shard[0], "of": shard[1], "order": order}}
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
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
        "model_version": model.model_version(),
        "plugins": _plugins(experiment),
        "versions": {
            "cortensim": package_version(),
            "python": platform.python_version(),
            **{library: _version(library) for library in _LIBRARIES},
        },
        "platform": platform.platform(),
        "git": _git_state(presets.root()),
        "started": _now(),
        "points": {"total": len(experiment.points)},
        **({"replayed": experiment.replayed.schedule.identity} if experiment.replayed else {}),
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
            name: {"sha256": sha256((folder / name).read_bytes()).hexdigest(), "rows": rows}
            for name, rows in _table_rows(outcomes).items()
        },
    }


def restarted(content: dict[str, Any], total: int) -> dict[str, Any]:
    """The manifest *content* of a shard as that of a run of *total* points that has nothing to show yet."""
    of_the_part = ("shard", "tables", "events", "slowest", "failures", "finished", "wall_seconds")
    kept = {key: value for key, value in content.items() if key not in of_the_part}
    return kept | {"format_version": FORMAT_VERSION, "status": "running", "points": {"total": total}}


def _table_rows(outcomes: Sequence[Outcome]) -> dict[str, int]:
    activities = sum(len(outcome.breakdown) for outcome in outcomes)
    rows = {"points.csv": len(outcomes), "points.parquet": len(outcomes), "breakdown.csv": activities}
    if counters := sum(len(outcome.counters) for outcome in outcomes):
        rows |= {"counters.csv": counters}
        for table in model.report_columns():
            rows[f"{table}.csv"] = sum(len(getattr(outcome, table)) for outcome in outcomes)
    return rows


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest of the run in *folder*."""
    text = json.dumps(manifest, indent=2) + "\n"
    write_atomically(folder / NAME, lambda path: path.write_text(text, encoding="utf-8"))


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of the run in *folder*; None if there is none.

    Raises `Damaged` if it is no whole JSON object, and `InputError` if it is another program's or of a newer
    version than this program knows.
    """
    path = folder / NAME
    shown = display(path)
    try:
        content = _json_object(read_regular(path).decode("utf-8-sig"), shown)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(Fault(f"cannot be read: {reason(error)}", shown)) from None
    except UnicodeDecodeError as error:
        raise Damaged(Fault(f"not UTF-8 text (byte {error.start})", shown, allowed=_REMEDY)) from None
    if content.get("format") != FORMAT:
        raise InputError(Fault("not the manifest of a run of this program", shown, allowed=_ELSEWHERE))
    version = content.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        message = "written by a newer version of cortensim, which this one cannot read"
        remedy = f"up to {FORMAT_VERSION}; install that version, or use another folder"
        raise InputError(Fault(message, shown, key="format_version", value=version, allowed=remedy))
    if version == 1 and isinstance(tables := content.get("tables"), dict):
        tables = {name: {"sha256": digest} for name, digest in tables.items()}
        content = {**content, "tables": tables}
    try:
        return Manifest.model_validate({**content, "content": content})
    except ValidationError as error:
        what = error.errors(include_url=False)[0]
        key = ".".join(map(str, what["loc"]))
        raise Damaged(Fault(f"damaged: {what['msg'].lower()}", shown, key=key, allowed=_REMEDY)) from None


def _json_object(text: str, file: str) -> dict[str, Any]:
    """The JSON object in *text*. Raises `Damaged`."""
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        what = Fault(f"not JSON: {error.msg.lower()}", file, error.lineno, error.colno, allowed=_REMEDY)
        raise Damaged(what) from None
    except (ValueError, RecursionError):  # a number of thousands of digits; brackets without end
        raise Damaged(Fault("not the JSON of a manifest", file, allowed=_REMEDY)) from None
    if not isinstance(content, dict):
        raise InputError(Fault("not the manifest of a run of this program", file, allowed=_ELSEWHERE))
    return content


def _plugins(experiment: Experiment) -> list[dict[str, str]]:
    """The outside packages that the designs of an experiment come from, or parts of them."""
    parts = dict.fromkeys(part for member in experiment.designs for part in model.parts_of(member.spec))
    found = (plugin for part in parts if (plugin := part.plugin) is not None)
    return [
        {
            GROUPS[plugin.group]: plugin.name,
            "name": plugin.package,
            "version": plugin.version,
            "sha256": plugin.digest,
        }
        for plugin in found
    ]


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
        command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None
