"""What the applications rest on: each number that their files mark `inferred`, halved and doubled.

    python -m tools.sensitivity --report docs/applications.md          half an hour or more on one core

A parameter is inferred if the comment beside it begins so, and a key of the allocator if a comment of the
workload says so of its name. For each, two designs run the workload at the thread count of `APPLICATIONS`,
and Linux at a smaller one too: how it grows from there says whether the knee of its curve moves. Points are
kept in a folder as they finish, so that a second run does only what is new.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from sim.experiment import make_point, run_points
from sim.files import Resolved, from_mapping, load_spec, presets
from sim.plaintext import say

MACHINE: Final = "epyc-9965-guest"
LINUX: Final = "linux-6.13"
CORTENMM: Final = "cortenmm-adv"
MATTERS: Final = 0.2
"""From this relative change of a ratio on, it depends on the parameter."""


class Asked(NamedTuple):
    """At how many *threads* the ratio is taken, *fewer* from which Linux's growth counts, and a placement."""

    threads: int
    fewer: int
    placement: str = ""


APPLICATIONS: Final[Mapping[str, Asked]] = {
    "dedup-ptmalloc": Asked(64, 16),
    "psearchy-ptmalloc": Asked(64, 16, "share-of-64"),
    "jvm-threads": Asked(64, 16),
    "parsec": Asked(8, 1),
    "metis": Asked(384, 64),
}
"""Application -> what is asked. Only what a file itself marks is varied, not what it inherits."""

Changed = tuple[tuple[str, str], ...]
"""Paths and the values that go there."""


class Run(NamedTuple):
    """One point: a workload under a design, with what is *changed* of its file."""

    workload: str
    design: str
    threads: int
    placement: str
    changed: Changed


Throughputs = Mapping[Run, float | None]
"""Operations a microsecond, None where the point failed."""


@dataclass(frozen=True)
class Parameter:
    """A number that somebody inferred, where it stands and what the file says about it."""

    name: str
    path: str
    value: str
    why: str


@dataclass(frozen=True)
class Answer:
    """The ratio of CortenMM to Linux, and how Linux grows; None where a point failed."""

    ratio: float | None
    growth: float | None


_INFERRED = re.compile(r"^ +(?P<name>\w+): (?P<value>.+?) +# inferred[:,]? ?(?P<why>.*)$", re.MULTILINE)
_OF_ALLOCATOR = re.compile(r"^# inferred: `(?P<name>\w+)` (?P<why>.*)$", re.MULTILINE)


def inferred(text: str) -> list[Parameter]:
    """The parameters that the workload file *text* marks, in its order."""
    found = [
        Parameter(each["name"], f"workload.parameters.{each['name']}", each["value"], each["why"])
        for each in _INFERRED.finditer(text)
    ]
    for each in _OF_ALLOCATOR.finditer(text):
        name = each["name"]
        value = re.search(rf"^allocator: .*\b{name}: ([^,}}]+)", text, re.MULTILINE)
        if value is None:
            raise ValueError(f"a comment speaks of `{name}`, and the allocator has no such key")
        found.append(Parameter(name, f"workload.allocator.{name}", value[1], each["why"]))
    return found


def scaled(value: str, factor: float) -> str:
    """*value* times *factor*, in its unit. A share below 1 stays one, and a whole number whole.

    >>> scaled("400 us", 0.5), scaled("0.53", 2), scaled("40", 0.5)
    ('200 us', '1.0', '20')
    """
    number, _, unit = value.partition(" ")
    if "." not in number:
        return f"{max(1, round(int(number) * factor))} {unit}".strip()
    changed = float(number) * factor
    if not unit and float(number) < 1:
        changed = min(1.0, changed)
    return f"{round(changed, 6)} {unit}".strip()


def typed(value: str) -> str | int | float:
    """*value* as a file would have it: a number where it has no unit."""
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            pass
    return value


def variants(parameters: Iterable[Parameter]) -> list[Changed]:
    """Nothing changed, and then each parameter halved and doubled."""
    changes = [((each.path, scaled(each.value, by)),) for each in parameters for by in (0.5, 2)]
    return [(), *changes]


def runs(workload: str, changes: Iterable[Changed]) -> list[Run]:
    """The points that answer for *workload*."""
    threads, fewer, placement = APPLICATIONS[workload]
    points = ((LINUX, threads), (CORTENMM, threads), (LINUX, fewer))
    return [Run(workload, design, count, placement, each) for each in changes for design, count in points]


def answer(workload: str, changed: Changed, throughputs: Throughputs) -> Answer:
    threads, fewer, placement = APPLICATIONS[workload]

    def at(design: str, count: int) -> float | None:
        return throughputs[Run(workload, design, count, placement, changed)]

    linux, cortenmm, before = at(LINUX, threads), at(CORTENMM, threads), at(LINUX, fewer)
    return Answer(
        None if linux is None or cortenmm is None else cortenmm / linux,
        None if linux is None or before is None else linux / before,
    )


def simulated(wanted: Sequence[Run], workers: int, keep: Path) -> Throughputs:
    """Simulate what *keep* does not have yet."""
    load = cast("Callable[..., Resolved[Any]]", load_spec)
    points = [
        make_point(
            load("machine", MACHINE),
            load("design", run.design),
            load("workload", run.workload, from_mapping({path: typed(value) for path, value in run.changed})),
            run.placement,
            run.threads,
            seed=2025,
        )
        for run in wanted
    ]
    table = run_points(points, workers, keep=keep)
    found = cast("list[dict[str, Any]]", table.to_dict("records"))
    return {
        run: row["throughput_ops_per_us"] if row["status"] == "ok" else None
        for run, row in zip(wanted, found, strict=True)
    }


def section(workload: str, parameters: Sequence[Parameter], throughputs: Throughputs) -> list[str]:
    """The lines about one application."""
    asked = APPLICATIONS[workload]
    now = answer(workload, (), throughputs)
    of_text = f" (`{asked.placement}`)" if asked.placement else ""
    lines = [
        f"## {workload}{of_text}",
        "",
        f"{asked.threads} threads: `{CORTENMM}` does {_written(now.ratio)} times what `{LINUX}` does, which "
        f"does {_written(now.growth)} times what it does with {asked.fewer}.",
        "",
        "| parameter | value | ratio: halved | doubled | growth: halved | doubled | what depends on it |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for each in parameters:
        half, twice = (
            answer(workload, ((each.path, scaled(each.value, by)),), throughputs) for by in (0.5, 2)
        )
        ratios, growths = (half.ratio, twice.ratio), (half.growth, twice.growth)
        depends = [
            name
            for name, values, before in (("ratio", ratios, now.ratio), ("knee", growths, now.growth))
            if any(_moved(value, before) for value in values)
        ]
        numbers = " | ".join(map(_written, (*ratios, *growths)))
        lines.append(f"| `{each.name}` | {each.value} | {numbers} | {', '.join(depends) or 'nothing'} |")
    return [*lines, ""]


def _moved(value: float | None, before: float | None) -> bool:
    return value is not None and before is not None and abs(value / before - 1) > MATTERS


def _written(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


HEAD: Final = f"""# What the applications rest on

Generated by `python -m tools.sensitivity --report docs/applications.md`; do not edit. The applications are in
`workloads/applications` ([workloads.md](workloads.md#applications)).

Some numbers of the applications nobody has published: their files mark them `inferred`. Here each is halved
and doubled, one at a time, and everything else stays. *Ratio* is the throughput of `{CORTENMM}` over that of
`{LINUX}`, on `{MACHINE}`. *Growth* is Linux's throughput over its own with fewer threads: where it is near 1,
its curve has bent before. The last column names what moves by more than {MATTERS:.0%}; one point has one
draw of the random numbers. A dash is a point that does not run. Steps that would go beyond their place end
there: of twice the pages a thread of `jvm-threads` writes those that its stack has.

"""


def page(files: Mapping[str, str], throughputs: Throughputs) -> str:
    """The page about the applications whose *files* these are, by name."""
    lines = [line for name, text in files.items() for line in section(name, inferred(text), throughputs)]
    return HEAD + "\n".join(lines).rstrip("\n") + "\n"


def text_of(workload: str) -> str:
    """The file of a workload on board."""
    found = presets.find("workload", workload)
    assert isinstance(found, Path), found
    return found.read_text(encoding="utf-8")


def main(
    arguments: Sequence[str] | None = None,
    simulate: Callable[[Sequence[Run], int, Path], Throughputs] = simulated,
) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.sensitivity", description=__doc__)
    parser.add_argument("--report", type=Path, required=True, metavar="FILE.md")
    parser.add_argument(
        "--only", action="append", choices=APPLICATIONS, help="this application; may be repeated"
    )
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("results/sensitivity"), metavar="DIR")
    given = parser.parse_args(arguments)
    files = {name: text_of(name) for name in given.only or APPLICATIONS}
    wanted = [run for name, text in files.items() for run in runs(name, variants(inferred(text)))]
    say(f"{len(wanted)} points")
    given.report.write_text(page(files, simulate(wanted, given.workers, given.keep)), encoding="utf-8")


if __name__ == "__main__":
    main()
