"""What the commands share: exit codes, argument parsing with one-line errors, messages."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from sim.errors import Fault, InputError
from sim.plaintext import plain, say

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
    """What a group of commands adds its own to."""

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


class Parser(argparse.ArgumentParser):
    """argparse with a one-line error."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, plain(f"{self.prog}: {message} (see {self.prog} --help)") + "\n")


def workers(text: str) -> int:
    """A number of processes, as the type of an argument."""
    return _number(text, "processes")


def events(text: str) -> int:
    """A number of events, as the type of an argument."""
    return _number(text, "events")


def slices(text: str) -> int:
    """A number of slices, as the type of an argument."""
    return _number(text, "slices")


def cpus(text: str) -> int:
    """A number of cpus, as the type of an argument."""
    return _number(text, "cpus")


def rows(text: str) -> int:
    """A number of rows, as the type of an argument."""
    return _number(text, "rows")


def _number(text: str, what: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"not a number of {what}: {text!r}")
    return int(text)


def found(path: Path) -> Path:
    """A run or file at *path*, or the run of this name under results/. Raises `InputError`."""
    for place in (path, Path("results") / path):
        if os.path.exists(place):
            return place
    raise InputError(Fault("no such run, and no such file", str(path)))


def make_folder(folder: Path) -> None:
    """Make *folder* for what a command writes, if need be. Raises `InputError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(Fault(f"cannot write here: {reason}", str(folder))) from error


def complain(message: str) -> None:
    """Say what is wrong, on standard error."""
    say(message, sys.stderr)
