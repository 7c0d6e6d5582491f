"""The journal of a run: every finished point on the disk at once, so that a killed sweep loses none.

One JSON record a line, behind its checksum; a line that was cut short by a crash fails its checksum and is
simply a point not yet finished. Whoever writes to the journal holds the folder's lock, which ends with the
process: the file `.lock` that stays behind locks nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from sim.errors import Fault, InputError
from sim.experiment.results.outcome import Outcome
from sim.files import display, open_regular, read_regular, reason

if TYPE_CHECKING:
    from filelock import BaseFileLock
    from pydantic import TypeAdapter

NAME = "journal.jsonl"
LOCK = ".lock"
_TORN = re.compile(rb"[0-9a-f]{0,16}|[0-9a-f]{16} (\{[^\n]*)?|\0+")
"""What a crash may leave of a first record: its beginning, or zeros where the disk never got it."""


@dataclass(frozen=True)
class Records:
    """What a journal says. *finished* maps the id of a point to its outcome: the last, if it has several."""

    finished: dict[str, Outcome]
    damaged: tuple[int, ...]
    """The lines that cannot be read, other than a last one that was cut short."""


class Journal:
    """An open, locked journal. *finished* holds what it already recorded, by point id."""

    def __init__(self, folder: Path) -> None:
        """Open or make the journal in *folder*.

        Raises `InputError` if another run has it open, or if it is no journal that this program can read.
        """
        self._lock = _locked(folder)
        try:
            path = folder / NAME
            try:
                descriptor = open_regular(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            except OSError as error:
                raise InputError(Fault(f"cannot be opened: {reason(error)}", display(path))) from None
            self._stream = os.fdopen(descriptor, "a+b", buffering=0)
            try:
                self._stream.seek(0)
                data = self._stream.readall()
                records = _decode(data, path)
                self.finished, self.damaged = records.finished, records.damaged
                self._end_last_line(data)
            except BaseException:
                self._stream.close()
                raise
        except BaseException:
            self._lock.release()
            raise

    def record(self, outcome: Outcome) -> None:
        """Make one outcome durable. A transient failure is not recorded: resuming tries that point again."""
        if not outcome.transient:
            self._append(_encode(outcome))
            self.finished[outcome.point_id] = outcome

    def clear(self) -> None:
        """Forget all points, on the disk too."""
        self._stream.truncate(0)
        self.finished, self.damaged = {}, ()

    def close(self) -> None:
        """Close the journal and give up the lock."""
        self._stream.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def _end_last_line(self, data: bytes) -> None:
        """Cut off what a crash left of a record, so that the next one starts a line."""
        tail = data[data.rfind(b"\n") + 1 :]
        if any(_bodies(tail)):
            self._append(b"\n")
        elif tail:
            self._stream.truncate(len(data) - len(tail))

    def _append(self, data: bytes) -> None:
        while data:  # a full disk may take a part
            data = data[self._stream.write(data) or 0 :]
        os.fsync(self._stream.fileno())


def read_journal(folder: Path) -> Records:
    """What the journal in *folder* says, without a lock and without writing. Raises `InputError`."""
    path = folder / NAME
    try:
        return _decode(read_regular(path), path)
    except OSError as error:
        raise InputError(Fault(f"cannot be read: {reason(error)}", display(path))) from None


def _locked(folder: Path) -> BaseFileLock:
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(Fault("another run is writing to this folder now", display(folder))) from None
    return lock


def _encode(outcome: Outcome) -> bytes:
    body = json.dumps(asdict(outcome), ensure_ascii=True, separators=(",", ":"))
    return f"{_checksum(body)} {body}\n".encode()


def _decode(data: bytes, path: Path) -> Records:
    """The records in *data*. Raises `InputError` if none of it is a journal, or one of another version."""
    bodies = dict(_bodies(data))
    lines = data.split(b"\n")
    if data.strip() and not bodies and not (len(lines) == 1 and _TORN.fullmatch(data)):
        message = (
            "no line of this file is a finished point of a run: another program's file, or a damaged one"
        )
        remedy = "put the right file back, or use another folder"
        raise InputError(Fault(message, display(path), allowed=remedy))
    outcomes = [_outcome(body, path, number) for number, body in bodies.items()]
    damaged = [number for number, line in enumerate(lines[:-1], 1) if line.strip() and number not in bodies]
    return Records({outcome.point_id: outcome for outcome in outcomes}, tuple(damaged))


def _bodies(data: bytes) -> Iterator[tuple[int, str]]:
    """Line number and JSON text of every record whose checksum is right."""
    for number, line in enumerate(data.split(b"\n"), 1):
        checksum, _, body = line.rstrip(b"\r").decode("utf-8", "replace").partition(" ")
        if body and checksum == _checksum(body):
            yield number, body


def _outcome(body: str, path: Path, line: int) -> Outcome:
    from pydantic import ValidationError

    try:
        return _adapter().validate_json(body)
    except ValidationError as error:
        what = error.errors(include_url=False)[0]
        key = ".".join(map(str, what["loc"]))
        message = f"a record of another version of cortensim: {what['msg'].lower()}"
        remedy = "the version in `versions` of manifest.json, or another folder for a new run"
        raise InputError(Fault(message, display(path), line, key=key, allowed=remedy)) from None


@cache
def _adapter() -> TypeAdapter[Outcome]:
    from pydantic import TypeAdapter

    return TypeAdapter(Outcome)


def _checksum(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]
