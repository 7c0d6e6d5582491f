"""The journal of a run: every finished point on the disk at once, so that a killed sweep loses none.

One JSON record a line, behind its checksum; a line that was cut short by a crash fails its checksum and is
simply a point not yet finished. The open journal also carries the lock that keeps two runs out of one folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sim.errors import Fault, InputError
from sim.experiment.outcome import Outcome, Row
from sim.experiment.yaml_loader import display

NAME = "journal.jsonl"


class Journal:
    """An open, locked journal. *finished* holds what it already recorded, by point id."""

    def __init__(self, folder: Path) -> None:
        """Open or make the journal in *folder*. Raises `InputError` if another run has it open."""
        self._stream = (folder / NAME).open("a+b", buffering=0)
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._stream.close()
            raise InputError(Fault("another run is writing to this folder now", display(folder))) from None
        self._stream.seek(0)
        data = self._stream.readall()
        self.finished = {
            outcome.point_id: outcome for line in data.splitlines() if (outcome := _decode(line))
        }
        if data and not data.endswith(b"\n"):
            self._append(b"\n")

    def record(self, outcome: Outcome) -> None:
        """Make one outcome durable. A transient failure is not recorded: resuming tries that point again."""
        if not outcome.transient:
            self._append(_encode(outcome))
            self.finished[outcome.point_id] = outcome

    def close(self) -> None:
        """Close the journal and give up the lock."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, data: bytes) -> None:
        while data:  # a full disk may take a part
            data = data[self._stream.write(data) or 0 :]
        os.fsync(self._stream.fileno())


def _encode(outcome: Outcome) -> bytes:
    body = json.dumps(asdict(outcome), ensure_ascii=True, separators=(",", ":"))
    return f"{_checksum(body)} {body}\n".encode()


def _decode(line: bytes) -> Outcome | None:
    """The outcome in one line; None if the line is damaged."""
    checksum, _, body = line.decode("utf-8", "replace").partition(" ")
    if not body or checksum != _checksum(body):
        return None
    record: dict[str, Any] = json.loads(body)
    return Outcome(**{**record, "row": Row(**record["row"])})


def _checksum(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]
