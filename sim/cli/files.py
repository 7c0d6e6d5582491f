"""Files: `list` and `show` the presets, `check` files, `init` a study of one's own, write the `schema`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sim.cli.arguments import DONE, make_folder
from sim.errors import Fault, InputError
from sim.plaintext import say

if TYPE_CHECKING:
    from sim.cli.arguments import Commands


def add(commands: Commands) -> None:
    """Add the commands of this group."""
    listing = commands.add_parser("list", help="list the presets of a kind")
    listing.set_defaults(command=_list)
    listing.add_argument("kind", choices=("machines", "designs", "workloads", "experiments"))

    show = commands.add_parser("show", help="show a preset or file, with the origin of its values")
    show.set_defaults(command=_show)
    show.add_argument("name", metavar="NAME", help="name of a preset, or path of a YAML file")

    check = commands.add_parser("check", help="check files without running them")
    check.set_defaults(command=_check)
    check.add_argument("files", metavar="FILE", nargs="+", type=Path)

    init = commands.add_parser(
        "init", help="write a starter: a machine, a workload, an experiment, a notebook"
    )
    init.set_defaults(command=_init)
    init.add_argument("folder", metavar="DIR", type=Path)

    schema = commands.add_parser("schema", help="write the JSON Schemas of the files, for editors")
    schema.set_defaults(command=_schema)
    schema.add_argument(
        "folder", metavar="DIR", nargs="?", type=Path, default=Path("schema"), help="default: schema"
    )


def _list(options: argparse.Namespace) -> int:
    from sim.cli.preset_list import preset_list
    from sim.terminal import console

    kinds = {"machines": "machine", "designs": "design", "workloads": "workload", "experiments": "experiment"}
    console(sys.stdout).print(preset_list(kinds[options.kind]))  # type: ignore[arg-type]
    return DONE


def _show(options: argparse.Namespace) -> int:
    from sim.cli.spec_view import spec_view
    from sim.files import find_any
    from sim.terminal import console

    screen = console(sys.stdout)
    for resolved in find_any(options.name):
        screen.print(spec_view(resolved))
    return DONE


def _check(options: argparse.Namespace) -> int:
    from sim.experiment import check_file

    faults: list[Fault] = []
    for path in options.files:
        try:
            kind, name = check_file(path)
        except InputError as error:
            faults += [fault for fault in error.faults if fault not in faults]
        else:
            say(f"{path}: {kind} {name} is fine")
    if faults:
        raise InputError(faults)
    return DONE


def _init(options: argparse.Namespace) -> int:
    from sim.cli.starter import write_starter

    make_folder(options.folder)
    for path in write_starter(options.folder):
        say(path)
    return DONE


def _schema(options: argparse.Namespace) -> int:
    from sim.files import write_schemas

    make_folder(options.folder)
    for path in write_schemas(options.folder):
        say(path)
    return DONE
