"""The result file of will-it-scale, read and written: one CSV for each test, a row for each number of tasks.

    tasks,processes,processes_idle,threads,threads_idle,linear
    0,0,100,0,100,0
    1,1043218,97.92,988120,97.91,1043218
    ...

`runtest.py` prints it (github.com/antonblanchard/will-it-scale, at 75f66e4): the operations a second of all
tasks, once as processes and once as threads, each with the idle time of the whole machine in per cent while
it ran, and what `linear` scaling of the better mode at one task would give. A test that ended without an
average has -1. The copies that the kernel test robot and others use run one mode alone and print 0 for the
other; and who repeats a test appends, so that the header comes again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.analysis.published import Observation, observed
from sim.analysis.sheets import Rule, finite, read_text, row_length_fault, rows_of, shortened, whole
from sim.errors import Fault, InputError, nearest

if TYPE_CHECKING:
    from pandas import DataFrame

MODES = ("processes", "threads")
"""How a test runs its tasks: as processes, which share no memory, or as threads of one process."""
COLUMNS = ("tasks", "processes", "processes_idle", "threads", "threads_idle", "linear")
UNNAMED = {"machine": "unnamed-machine", "system": "unnamed-kernel"}
"""What the machine and the system of a file are called that names neither."""
TOLERANCE, IDLE_TOLERANCE = 0.25, 0.1
"""Of imported rows: what the published rows of this suite have, and ten points of a hundred."""
_NOTHING_RUNS = "0,0,100,0,100,0"
_FAILED = -1


@dataclass(frozen=True)
class Names:
    """What the rows of a file are called, which does not say it itself."""

    workload: str
    machine: str = UNNAMED["machine"]
    system: str = UNNAMED["system"]
    dataset: str = "will-it-scale"


def is_suite(header: Sequence[str]) -> bool:
    """Whether a file with this *header* is meant to be one of this suite."""
    names = [name.strip() for name in header]
    return "tasks" in names and any(mode in names for mode in MODES) and "metric" not in names


def read_suite(path: Path, names: Names) -> list[Observation]:
    """What the file at *path* measured, in the published format: throughput and idle share a row and mode.

    A mode that was not run, or gave no average, has no row. Raises `InputError` with every fault.
    """
    file = str(path)
    rows = rows_of(read_text(path), file)
    header = [name.strip() for name in next(rows, (1, []))[1]]
    places = _places(header, file)
    found: list[Observation] = []
    faults: list[Fault] = []
    run = 1
    for line, row in rows:
        if [cell.strip() for cell in row] == header:
            run += 1
            continue
        try:
            found += _observations(_typed(row, places, file, line), names, run, file, line)
        except InputError as error:
            faults += error.faults
    if not found and not faults:
        faults.append(Fault("no test ran in this file: nothing is above 0", file, 1))
    if faults:
        raise InputError(faults)
    return found


def _places(header: Sequence[str], file: str) -> dict[str, int]:
    if not header:
        raise InputError(
            Fault("empty: the first line must name the columns", file, allowed=",".join(COLUMNS))
        )
    faults = [
        Fault("unknown column", file, 1, value=name, suggestion=nearest(name, COLUMNS))
        for name in header
        if name not in COLUMNS
    ]
    for name in COLUMNS:
        if header.count(name) != 1:
            message = "column named twice" if name in header else "missing column"
            faults.append(Fault(message, file, 1, key=name, allowed=",".join(COLUMNS)))
    if faults:
        raise InputError(faults)
    return {name: header.index(name) for name in COLUMNS}


def _typed(row: Sequence[str], places: dict[str, int], file: str, line: int) -> dict[str, Any]:
    """Column -> number; of an empty cell None."""
    if (fault := row_length_fault(row, places, file, line)) is not None:
        raise InputError(fault)
    numbers: dict[str, Any] = {}
    faults = []
    for name, place in places.items():
        text = row[place].strip()
        try:
            numbers[name] = _RULES[name].parse(text) if text or name == "tasks" else None
        except ValueError:
            allowed = _RULES[name].allowed
            faults.append(
                Fault("not understood", file, line, key=name, value=shortened(text), allowed=allowed)
            )
    if faults:
        raise InputError(faults)
    return numbers


def _observations(row: dict[str, Any], names: Names, run: int, file: str, line: int) -> Iterator[Observation]:
    common: dict[str, object] = {**vars(names), "tasks": row["tasks"], "exactness": "exact", "use": "check"}
    common["source"] = f"will-it-scale, {Path(file).name} line {line}" + (f", run {run}" if run > 1 else "")
    for mode in MODES:
        average, idle = row[mode], row[f"{mode}_idle"]
        if not row["tasks"] or not average or average == _FAILED:
            continue
        yield observed(
            file, line, **common, placement=mode, metric="throughput", value=_short(average), unit="ops/s",
            tolerance=TOLERANCE,
        )  # fmt: skip
        if idle is not None:
            yield observed(
                file, line, **common, placement=mode, metric="idle_share", value=_short(abs(idle)), unit="%",
                tolerance=IDLE_TOLERANCE,
            )  # fmt: skip


def _short(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else repr(value)


def _average(text: str) -> float:
    value = finite(least=_FAILED)(text)
    if value < 0 and value != _FAILED:
        raise ValueError(text)
    return value


def _percent(text: str) -> float:
    value = finite(least=0)(text)
    if value > 100:
        raise ValueError(text)
    return value


_RULES = {
    "tasks": whole(0),
    "linear": Rule(_average, "a finite number from 0"),
    **dict.fromkeys(MODES, Rule(_average, "operations a second from 0, or -1 where there is no average")),
    **dict.fromkeys((f"{mode}_idle" for mode in MODES), Rule(_percent, "per cent, from 0 to 100")),
}


# -- written ------------------------------------------------------------------------------------------------


def mode_of(placement: str) -> str | None:
    """The mode that a *placement* of a workload is; None where this format has none for it.

    A workload without placements runs its threads as threads.
    """
    return placement if placement in MODES else None if placement else "threads"


def unwritable(places: Iterable[tuple[str, str, bool]]) -> list[Fault]:
    """Why a run of these (workload, placement, swept) cannot be written in this format."""
    faults = []
    for workload, placement, swept in dict.fromkeys(places):
        if mode_of(placement) is None:
            faults.append(
                Fault(
                    f"will-it-scale's format has no place for this placement of {workload}",
                    "--format will-it-scale", value=placement, allowed=", ".join(MODES),
                )
            )  # fmt: skip
        elif swept:
            faults.append(
                Fault(
                    f"will-it-scale's format has no place for swept values of {workload}",
                    "--format will-it-scale", allowed="an experiment without `sweep` and `zip`",
                )
            )  # fmt: skip
    return faults


def write_suite(points: DataFrame, folder: Path) -> list[Path]:
    """Write the file of each machine, design and workload in *points*; `MACHINE/DESIGN/WORKLOAD.csv` below
    *folder*. Replicates stand one behind the other, as repeated runs of the suite do."""
    from sim.files import write_atomically

    written = []
    for (machine, design, workload), own in points.groupby(["machine", "design", "workload"], sort=False):
        path = folder / str(machine) / str(design) / f"{workload}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(_table(own[own["replicate"] == number]) for number in own["replicate"].unique())
        write_atomically(path, lambda temporary, text=text: temporary.write_text(text, encoding="utf-8"))  # type: ignore[misc]
        written.append(path)
    return written


def _table(points: DataFrame) -> str:
    """One run of the suite: all points of one replicate."""
    found: dict[tuple[int, str | None], tuple[int, str]] = {}
    for point in points.to_dict("records"):
        failed = point["status"] == "failed"
        average = _FAILED if failed else round(point["throughput_ops_per_us"] * 1e6)
        share = 0.0 if failed else float(point["idle_share"])
        idle = "" if isnan(share) else f"{100 * share:.2f}"  # of a point kept from an older run
        found[int(point["threads"]), mode_of(point["placement"])] = average, idle
    best = max((average for (tasks, _), (average, _) in found.items() if tasks == 1), default=0)
    lines = [",".join(COLUMNS), _NOTHING_RUNS]
    for tasks in sorted({tasks for tasks, _ in found}):
        modes = (found.get((tasks, mode), (0, "0.00")) for mode in MODES)
        cells = ",".join(f"{average},{idle}" for average, idle in modes)
        lines.append(f"{tasks},{cells},{max(best, 0) * tasks}")
    return "\n".join([*lines, ""])
