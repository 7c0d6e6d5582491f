"""The command line: arguments in, exit code out. 0 done, 1 a check or a point failed, 2 bad input.

Everything heavy is imported by the command that needs it: `cortensim --help` must be instant.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from sim.cli import (
    comparison,
    curves,
    files,
    imports,
    measurements,
    plots,
    profiles,
    reports,
    runs,
    traces,
    verify,
    whatif,
)
from sim.cli.arguments import BAD_INPUT, DONE, FAILED, INTERRUPTED, Parser, complain
from sim.errors import CortensimError, InputError
from sim.plaintext import say

GROUPS = (
    *(runs, plots, files, measurements, imports, comparison),
    *(curves, profiles, whatif, traces, verify, reports),
)
"""Modules with commands, in the order of the help."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Whatever the user got wrong is a message, not a traceback."""
    try:
        options = parser().parse_args(arguments)
        command: Callable[[argparse.Namespace], int] = options.command
        code = command(options)
        sys.stdout.flush()
        return code
    except InputError as error:
        for fault in error.faults:
            complain(str(fault))
        return BAD_INPUT
    except CortensimError as error:
        complain(f"{type(error).__name__}: {error}")
        return FAILED
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        complain(str(error))
        return FAILED
    except KeyboardInterrupt:
        complain("stopped")
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """The parser of all commands, each of which leaves what runs it in `command`."""
    program = Parser(
        prog="cortensim",
        description="How does a memory-management design scale on a machine, and where does the time go?",
    )
    program.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = program.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for group in GROUPS:
        group.add(commands)
    return program


class _Version(argparse.Action):
    """Looks the version up only when asked, and says whether the model runs compiled."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from sim.compiled import words
        from sim.experiment import package_version

        say(f"cortensim {package_version()} ({words()})")
        parser.exit()
