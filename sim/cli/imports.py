"""Imports: what other programs measured becomes rows in the published format."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sim.cli.arguments import DONE, Parser, complain, make_folder
from sim.errors import Fault, InputError
from sim.plaintext import say

if TYPE_CHECKING:
    from sim.analysis import Observation
    from sim.cli.arguments import Commands


def add(commands: Commands) -> None:
    """Add the command of this group."""
    importing = commands.add_parser(
        "import",
        help="make other programs' results data that `validate` and `compare` read",
        description="Writes rows in the format of results/published/README.md, to standard output or a file.",
    )
    kinds = importing.add_subparsers(metavar="KIND", required=True, parser_class=Parser)

    suite = kinds.add_parser("will-it-scale", help="result files of will-it-scale's runtest.py")
    suite.set_defaults(command=_will_it_scale)
    suite.add_argument("files", metavar="FILE.csv", nargs="+", type=Path, help="one for each test")
    suite.add_argument("--machine", metavar="NAME", help="where it was measured (default: unnamed-machine)")
    suite.add_argument("--system", metavar="NAME", help="what was measured (default: unnamed-kernel)")
    suite.add_argument("--workload", metavar="NAME", help="the test (default: the name of its file)")

    lkp = kinds.add_parser("lkp", help="will-it-scale in mails of the kernel test robot")
    lkp.set_defaults(command=_lkp)
    lkp.add_argument("files", metavar="FILE", nargs="+", type=Path, help="a mail, its text, or an mbox")
    lkp.add_argument(
        "--as", metavar="NAME=OTHER", dest="names", action="append", default=[],
        help="another name for a machine, commit or test of the mails (repeatable)",
    )  # fmt: skip

    for parser in (suite, lkp):
        parser.add_argument("--out", metavar="FILE", type=Path, help="write there (default: standard output)")


def _will_it_scale(options: argparse.Namespace) -> int:
    from sim.analysis.will_it_scale import UNNAMED, Names, read_suite

    if options.workload is not None and len(options.files) > 1:
        message = f"names one test, and there are {len(options.files)} files"
        raise InputError(Fault(message, f"--workload {options.workload}"))
    rows: list[Observation] = []
    faults = [
        Fault("this is no name", f"--{option}", value=name)
        for option in ("machine", "system", "workload")
        if (name := getattr(options, option)) is not None and not name.strip()
    ]
    if faults:
        raise InputError(faults)
    for path in options.files:
        workload = path.stem if options.workload is None else options.workload
        given = {name: value for name in UNNAMED if (value := getattr(options, name)) is not None}
        names = Names(workload, **given)
        try:
            rows += read_suite(path, names)
        except InputError as error:
            faults += error.faults
    if faults:
        raise InputError(faults)
    for name, unnamed in UNNAMED.items():
        if getattr(options, name) is None:
            complain(f"the {name} is called {unnamed} in these rows: --{name} NAME gives it a name")
    return _write(rows, options.out)


def _lkp(options: argparse.Namespace) -> int:
    from sim.analysis.lkp import read_lkp
    from sim.analysis.names import parse_names, rename

    names = parse_names(options.names)
    imported = read_lkp(options.files)
    for words in imported.left_out:
        complain(words)
    return _write(rename(imported.observations, names), options.out)


def _write(rows: Sequence[Observation], out: Path | None) -> int:
    from sim.analysis.published import write_published
    from sim.files import write_atomically

    if out is None:
        write_published(rows, sys.stdout)
        return DONE

    def write(path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as stream:
            write_published(rows, stream)

    if out.is_dir():
        raise InputError(Fault("this is a directory, not a file", str(out)))
    make_folder(out.parent)
    try:
        write_atomically(out, write)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(Fault(f"cannot be written: {reason}", str(out))) from None
    say(f"{len(rows)} rows: {out}")
    return DONE
