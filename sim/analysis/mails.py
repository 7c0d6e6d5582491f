"""Mails as files: one as it was received, several in an mbox, or the text alone as a web archive shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from pathlib import Path

from sim.analysis.sheets import MAX_BYTES
from sim.errors import Fault, InputError
from sim.files import read_input

_HEADER = re.compile(rb"(From |[A-Za-z][A-Za-z0-9-]*:[ \t])")
_NAMES_A_MAIL = re.compile(rb"(?im)^(from|subject|message-id|date):[ \t]")
_NEXT_IN_MBOX = re.compile(rb"(?:\A|(?<=\n\n))(?=From [^\n]*\n)")
_QUOTED = re.compile(r"(?:[ \t]?>)+ ?")
_AS_IT_IS = ("", "7bit", "8bit", "binary")


@dataclass(frozen=True)
class Line:
    """A line of a mail's text without the marks of a quotation, of which *indent* letters were cut.

    *number* is its line in the file; None where the text was encoded (base64, quoted-printable).
    """

    number: int | None
    indent: int
    text: str


@dataclass(frozen=True)
class Mail:
    """The plain text of one mail. *name* is its Message-ID, or that of the file."""

    file: str
    name: str
    lines: tuple[Line, ...]


def read_mails(path: Path) -> list[Mail]:
    """The mails in the file at *path*. Raises `InputError` for what is no text."""
    file = str(path)
    data = read_input(path, file, MAX_BYTES)
    if isinstance(data, Fault):
        raise InputError(data)
    if (at := data.find(b"\0")) >= 0:
        raise InputError(Fault("not a text file: it has a NUL", file, data.count(b"\n", 0, at) + 1))
    data = data.replace(b"\r\n", b"\n")
    if not _is_mail(data):
        return [Mail(file, path.name, _lines(_decoded(data, "utf-8"), 1))]
    mails = []
    starts = [match.start() for match in _NEXT_IN_MBOX.finditer(data)] if data.startswith(b"From ") else [0]
    for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
        message = message_from_bytes(data[start:end])
        name = str(message.get("message-id", path.name)).strip().strip("<>")
        first = data.count(b"\n", 0, start) + 1
        mails.append(Mail(file, name, tuple(_body(message, data[start:end], first))))
    return mails


def _is_mail(data: bytes) -> bool:
    head = data.lstrip().partition(b"\n\n")[0]
    return bool(_HEADER.match(head)) and bool(_NAMES_A_MAIL.search(head))


def _body(message: Message, data: bytes, first: int) -> Iterator[Line]:
    """The lines of all plain texts of a *message*, which stands from line *first* of its file on."""
    for part in message.walk():
        if part.get_content_type() != "text/plain" or part.is_multipart():
            continue
        payload = part.get_payload(decode=True)
        if not isinstance(payload, bytes):
            continue
        at = data.find(payload) if _encoding(part) in _AS_IT_IS else -1
        yield from _lines(
            _decoded(payload, part.get_content_charset() or "utf-8"),
            first + data.count(b"\n", 0, at) if at >= 0 else None,
        )


def _encoding(part: Message) -> str:
    return str(part.get("content-transfer-encoding", "")).strip().lower()


def _decoded(data: bytes, charset: str) -> str:
    """*data* as text: in its charset, or what it is if that is wrong. The last of them takes any bytes."""
    for name in (charset, "utf-8-sig"):
        try:
            return data.decode(name).removeprefix("\ufeff")
        except (UnicodeDecodeError, LookupError):
            continue
    return data.decode("latin-1")


def _lines(text: str, first: int | None) -> tuple[Line, ...]:
    lines = []
    for number, line in enumerate(text.split("\n")):
        quoted = _QUOTED.match(line)
        indent = quoted.end() if quoted else 0
        lines.append(Line(None if first is None else first + number, indent, line[indent:].rstrip()))
    return tuple(lines)
