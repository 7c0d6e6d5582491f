"""Text for people is text: what a user wrote is no control sequence, whatever bytes it holds."""

from __future__ import annotations

import re
import sys
from typing import IO

_UNPRINTABLE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, less tab and newline
    "\u200e\u200f\u202a-\u202e\u2066-\u2069"  # change the direction of what follows
    "\ud800-\udfff"  # bytes of a name that are no text, which cannot be written
    "]"
)


def plain(text: object) -> str:
    """*text* with all that a terminal would obey, or could not show, spelt out: ESC becomes `\\x1b`."""
    return _UNPRINTABLE.sub(lambda match: _spelt(ord(match[0])), str(text))


def say(text: object, stream: IO[str] | None = None) -> None:
    """Print a line on *stream*, by default on standard output."""
    print(plain(text), file=stream or sys.stdout)


def _spelt(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
