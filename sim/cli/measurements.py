"""Measurements: `validate` holds the model against them, `fit` tries values against some of them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sim.cli.arguments import DONE, FAILED, complain, events, make_folder, workers
from sim.errors import Fault, InputError
from sim.plaintext import say

if TYPE_CHECKING:
    from sim.analysis.validation import ValidationResult
    from sim.cli.arguments import Commands


def add(commands: Commands) -> None:
    """Add the commands of this group."""
    validate = commands.add_parser("validate", help="hold the model against published measurements")
    validate.set_defaults(command=_validate)
    _add_rows(validate)
    validate.add_argument("--strict", action="store_true", help="a row that is not covered fails, too")
    validate.add_argument("--out", metavar="DIR", type=Path, help="write validation.csv there")
    validate.add_argument(
        "--report", metavar="FILE.md", type=Path,
        help="write the page with breakdowns and, from misses.yaml beside it, the explanations",
    )  # fmt: skip
    validate.add_argument(
        "--bands", metavar="N", type=int, nargs="?", const=8,
        help="draw all costs N times (default: 8) from what their quality allows, and write between which "
        "values the rows marked `check` lie to bands.csv beside the page or the table",
    )  # fmt: skip
    _add_events(validate, "with --bands: no band")

    ablate = commands.add_parser(
        "ablate",
        help="switch mechanisms of the model off, and see what becomes of its predictions",
        description="Simulates the published rows marked `check` with the model as it is, and again without "
        "each mechanism of configs/ablations.yaml, one at a time. What is used everywhere takes as long as "
        "`validate`.",
    )
    ablate.set_defaults(command=_ablate)
    ablate.add_argument("mechanisms", metavar="MECHANISM", nargs="*", help="these only (default: all)")
    _add_rows(ablate)
    ablate.add_argument("--report", metavar="FILE.md", type=Path, help="write the table as a page")
    _add_events(ablate, "no part")

    fit = commands.add_parser(
        "fit",
        help="try values against the published rows that costs may be fitted to",
        description="Simulates only rows marked `calibrate`, for every combination of the values, and prints "
        "them with the closest first. Nothing is changed: the value to keep goes into its file by hand, with "
        "its source.",
    )
    fit.set_defaults(command=_fit)
    fit.add_argument("machine", metavar="MACHINE", help="the machine whose rows are used")
    fit.add_argument(
        "--try", metavar="KEY=[A,B,...]", action="append", default=[], dest="tries", required=True,
        help="a value's path and what to try, e.g. machine.coherence.probe=[0,0.1,0.2]",
    )  # fmt: skip
    _add_rows(fit)
    fit.add_argument("--workload", metavar="NAME", nargs="+", action="extend", default=[], help="these only")


def _add_rows(command: argparse.ArgumentParser) -> None:
    """Which rows, and how many processes simulate them."""
    command.add_argument(
        "--data", metavar="FILE.csv", nargs="+", action="extend", type=Path, default=[],
        help="measurements (default: the published ones that come with the program)",
    )  # fmt: skip
    command.add_argument(
        "--dataset", metavar="NAME", nargs="+", action="extend", default=[], help="these datasets only"
    )
    command.add_argument("--workers", metavar="N", type=workers, help="processes (default: one a cpu)")
    command.add_argument(
        "--keep", metavar="DIR", type=Path,
        help="keep each simulated point there as it finishes, and run none again that is there",
    )  # fmt: skip


def _add_events(command: argparse.ArgumentParser, without: str) -> None:
    command.add_argument(
        "--events", metavar="N", type=events, help=f"{without} for rows that need a point of more events"
    )


def _validate(options: argparse.Namespace) -> int:
    from sim.analysis.validation import validate
    from sim.analysis.validation_report import render, write_csv, write_report
    from sim.experiment import available_cpus, meter
    from sim.terminal import console

    if options.report is not None:
        make_folder(options.report.parent)
    if options.out is not None:
        make_folder(options.out)
    if options.bands is not None:
        _draw_bands(options)
    with meter(console(sys.stderr)) as progress:
        number = options.workers or available_cpus()
        result = validate(options.data, options.dataset, number, progress, keep=options.keep)
    render(result, console(sys.stdout))
    if options.out is not None:
        written = write_csv(result, options.out)
        say(f"table: {written}")
        _draw_published(result, options.out, options.out)
    if options.report is not None:
        written = write_report(result, options.report)
        say(f"page: {written}")
        _draw_published(result, options.report.parent, options.report.parent / "figures")
    if not result.answered:
        complain("no row could be compared: the table above says why")
    good = result.ok and result.answered and (result.complete or not options.strict)
    return DONE if good else FAILED


def _draw_published(result: ValidationResult, bands: Path, folder: Path) -> None:
    """The figure of *result* into *folder*, with the bands of the folder *bands*."""
    from sim.analysis.bands import read_bands
    from sim.analysis.figures import write_figure
    from sim.analysis.published_figure import NAME, pairs_of, published_figure

    figure = published_figure(pairs_of(result, read_bands(bands / "bands.csv")))
    if figure is not None:
        make_folder(folder)
        say(f"figure: {write_figure(figure, folder, NAME)[0]}")


def _draw_bands(options: argparse.Namespace) -> None:
    from sim.analysis.bands import bands, write_bands
    from sim.experiment import available_cpus, meter
    from sim.terminal import console

    places = [path for path in (options.out, options.report and options.report.parent) if path]
    if not places:
        raise InputError(Fault("bands have no place to go", "--bands", allowed="with --report or --out"))
    with meter(console(sys.stderr)) as progress:
        found = bands(
            options.data,
            options.dataset,
            options.workers or available_cpus(),
            progress,
            keep=options.keep,
            samples=options.bands,
            events=options.events,
        )
    for place in places:
        write_bands(place / "bands.csv", found)
        say(f"bands: {place / 'bands.csv'}")


def _ablate(options: argparse.Namespace) -> int:
    from sim.analysis.ablation import ablate, report
    from sim.experiment import available_cpus, meter
    from sim.files import write_atomically
    from sim.terminal import console

    page: Path | None = options.report
    if page is not None:
        make_folder(page.parent)
    number = options.workers or available_cpus()
    with meter(console(sys.stderr)) as progress:
        found = ablate(
            options.mechanisms,
            options.data,
            options.dataset,
            number,
            progress,
            keep=options.keep,
            events=options.events,
        )
    text = report(found, options.dataset, options.events)
    say(text)
    if page is not None:
        write_atomically(page, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return DONE


def _fit(options: argparse.Namespace) -> int:
    from sim.analysis.fitting import fit
    from sim.experiment import available_cpus, meter
    from sim.files import parse_choices
    from sim.terminal import console

    choices = [parse_choices(text, f"--try {text}") for text in options.tries]
    with meter(console(sys.stderr)) as progress:
        result = fit(
            choices,
            options.machine,
            options.data,
            options.dataset,
            options.workload,
            options.workers or available_cpus(),
            progress,
            keep=options.keep,
        )
    result.render(console(sys.stdout))
    return DONE
