"""Mails of the kernel test robot (LKP): what its runs of will-it-scale gave before and after a commit.

    test machine: 64 threads 2 sockets ... with 256G memory

    ====================================================================
    compiler/cpufreq_governor/kconfig/mode/nr_task/rootfs/tbox_group/test/testcase:
      gcc-12/performance/x86_64-rhel-9.4/thread/100%/debian-12.cgz/lkp-box/mmap1/will-it-scale

    commit:
      0123456789 ("mm: before")
      abcdef0123 ("mm: after")

    0123456789abcdef abcdef0123456789abcdef01234
    ---------------- ---------------------------
             %stddev     %change         %stddev
                 \\          |                \\
        120000 ±  2%     -10.0%     108000        will-it-scale.64.threads
         49.70            +4.3%      51.84        will-it-scale.64.threads_idle
          1875 ±  2%     -10.0%       1687        will-it-scale.per_thread_ops

A mail may have several such tables, each below its own parameters, and more than two commits. The text is
read as it is found in archives and replies: quoted, in any charset, with or without the mail's headers. What
the rows measure is told by their names alone. `.threads` and `.processes` are operations a second of all
tasks, `_idle` the idle time of the whole machine in per cent; `per_thread_ops` is used where the sum is not
printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sim.analysis.mails import Line, Mail, read_mails
from sim.analysis.published import Observation, observed
from sim.analysis.will_it_scale import IDLE_TOLERANCE, TOLERANCE
from sim.errors import Fault, InputError

SUITE = "will-it-scale"
DATASET = "lkp"
_SHORT = 10
"""Letters of a commit's hash that name it."""
_RULER = re.compile(r"\s*={20,}\s*\Z")
_DASHES = re.compile(r"\s*-{10,}(\s+-{10,})+\s*\Z")
_COMMIT = re.compile(r'\s+(?P<name>[\w.+~/-]+)(?:\s+\("(?P<subject>.*?)(?:"\))?)?(?:\s+<-.*)?\Z')
_HASH = re.compile(r"[0-9a-f]{8,40}\Z")
_TEST_MACHINE = re.compile(r"(?:on |in )?test machine:\s*(?P<words>\d+ threads.*)\Z")
_OTHER_MACHINE = re.compile(r"(?P<box>[\w.-]+):\s+(?P<words>\d+ threads.*)\Z")
_CPUS = re.compile(r"(\d+) threads")
_NAME = re.compile(r"\s(will-it-scale\.\S+)\Z")
_SUM = re.compile(r"will-it-scale\.(?P<tasks>\d+)\.(?P<mode>threads|processes)(?P<idle>_idle)?\Z")
_EACH = re.compile(r"will-it-scale\.per_(?P<mode>thread|process)_ops\Z")
_MODES = {"thread": "threads", "process": "processes"}
_NUMBER = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_MEAN = re.compile(rf"\s*(?P<mean>{_NUMBER})(?:\s*(?:±|\+/?-|\ufffd|Â±)\s*(?P<spread>\d+)%)?(?=\s)")
_CHANGE = re.compile(rf"\s+[+-]{_NUMBER}%?(?=\s)")


class Mean(NamedTuple):
    """A mean as it is printed, and its standard deviation in per cent, if any."""

    text: str
    spread: str


@dataclass
class _Table:
    """What stands above a table, as far as it was read."""

    parameters: dict[str, str]
    commits: list[tuple[str, str]] = field(default_factory=list)
    """Name and subject of each, in the order of the columns."""


@dataclass(frozen=True)
class Imported:
    """The observations of mails, and what was left out, in words with its place."""

    observations: list[Observation]
    left_out: list[str]


def read_lkp(paths: Iterable[Path]) -> Imported:
    """All that the mails at *paths* say of will-it-scale: of each table the rows before, then those after.

    What is quoted again is taken once. Raises `InputError` with every fault of every file.
    """
    found: dict[tuple[object, ...], Observation] = {}
    faults: list[Fault] = []
    left_out: list[str] = []
    for path in paths:
        try:
            readers = [_Reader(mail) for mail in read_mails(path)]
        except InputError as error:
            faults += error.faults
            continue
        rows = [row for reader in readers for row in reader.observations]
        wrong = [fault for reader in readers for fault in reader.faults]
        unused = [words for reader in readers for words in reader.left_out]
        left_out += unused
        if not rows and not wrong and not unused:
            message = f"no table of {SUITE} in this file"
            allowed = "the text of a mail of the kernel test robot, with the line that names its parameters"
            wrong.append(Fault(message, str(path), allowed=allowed))
        faults += wrong
        for row in rows:
            found.setdefault((*row.cells[:8],), row)
    if not found and not faults:
        faults = [Fault(words) for words in left_out]
    if faults:
        raise InputError(faults)
    return Imported(list(found.values()), left_out)


class _Reader:
    """Goes through the lines of one mail once."""

    def __init__(self, mail: Mail) -> None:
        self.observations: list[Observation] = []
        self.faults: list[Fault] = []
        self.left_out: list[str] = []
        self._mail = mail
        self._machines = dict(self._named_machines())
        self._table: _Table | None = None
        lines = list(mail.lines)
        at = 0
        while at < len(lines):
            text = lines[at].text
            if _RULER.match(text):
                at = self._parameters(lines, at + 1)
            elif text.strip() == "commit:":
                at = self._commits(lines, at + 1)
            elif _DASHES.match(text):
                at = self._rows(lines, at)
            else:
                at += 1

    def _named_machines(self) -> Iterator[tuple[str, str]]:
        """Name -> what it is. The one that the mail begins with is "" until its first parameters name it."""
        for line in self._mail.lines:
            if match := _TEST_MACHINE.match(line.text.strip()):
                yield "", match["words"]
            elif match := _OTHER_MACHINE.match(line.text.strip()):
                yield match["box"], match["words"]

    # -- above a table --------------------------------------------------------------------------------------

    def _parameters(self, lines: Sequence[Line], at: int) -> int:
        """Names and values between slashes, which a mailer may have folded; returns where they end."""
        self._table = None
        end = at
        while end < len(lines) and lines[end].text.strip() and lines[end].text.strip() != "commit:":
            end += 1
        names, colon, values = "".join(line.text.strip() for line in lines[at:end]).partition(":")
        if not colon or "testcase" not in names.split("/") or SUITE not in values.split("/"):
            return end
        keys, words = names.split("/"), values.split("/")
        if len(keys) != len(words):
            message = f"{len(words)} values for {len(keys)} parameters"
            self._fault(lines[at], message, value=values, allowed=names)
        elif missing := [key for key in ("tbox_group", "test") if key not in keys]:
            self._fault(lines[at], f"the parameters do not name the {missing[0]}", value=names)
        else:
            self._table = _Table(dict(zip(keys, words, strict=True)))
            if (first := self._machines.pop("", None)) is not None:
                self._machines.setdefault(self._table.parameters["tbox_group"], first)
        return end

    def _commits(self, lines: Sequence[Line], at: int) -> int:
        """One commit a line, the rest of a folded subject aside."""
        commits = []
        while at < len(lines) and lines[at].text.strip():
            if match := _COMMIT.match(lines[at].text):
                name = match["name"]
                short = name[:_SHORT] if _HASH.match(name) else name
                commits.append((short, match["subject"] or ""))
            at += 1
        if self._table is not None:
            self._table.commits = commits
        return at

    # -- a table --------------------------------------------------------------------------------------------

    def _rows(self, lines: Sequence[Line], at: int) -> int:
        """The rows below the dashes, up to an empty line."""
        columns = len(lines[at].text.split())
        header = next((line.text.split() for line in reversed(lines[:at]) if line.text.strip()), [])
        dashes = lines[at]
        at += 1
        rows: list[tuple[Line, str, list[Mean]]] = []
        while at < len(lines) and lines[at].text.strip() and not _RULER.match(lines[at].text):
            line = lines[at]
            at += 1
            name = _NAME.search(line.text)
            if name is None or not (_SUM.match(name[1]) or _EACH.match(name[1])):
                continue
            means, stopped = _means(line.text[: name.start(1)])
            if stopped is not None or len(means) != columns:
                message = f"not a row of this table: {len(means)} of {columns} values are understood"
                allowed = "VALUE [± N%], then for each further commit CHANGE VALUE [± N%], then the name"
                column = line.indent + 1 + (stopped if stopped is not None else name.start(1))
                self._fault(line, message, column=column, value=line.text.strip(), allowed=allowed)
            else:
                rows.append((line, name[1], means))
        if rows and self._table is None:
            self.left_out.append(f"{self._place(dashes)}: a table below no line of parameters is left out")
        elif rows and self._table is not None:
            commits = self._table.commits
            if len(commits) != columns:
                commits = [(word[:_SHORT] if _HASH.match(word) else word, "") for word in header]
            if len(commits) != columns:
                self._fault(dashes, f"{columns} columns, and {len(commits)} commits above them")
            else:
                self._observe(self._table.parameters, commits, rows)
        return at

    def _observe(
        self,
        parameters: dict[str, str],
        commits: Sequence[tuple[str, str]],
        rows: Sequence[tuple[Line, str, list[Mean]]],
    ) -> None:
        box = parameters["tbox_group"]
        machine = self._machines.get(box, "")
        summed = {match["mode"] for _, name, _ in rows if (match := _SUM.match(name)) and not match["idle"]}
        for column, (commit, subject) in enumerate(commits):
            for line, name, means in rows:
                measured = _measured(name, means[column].text, summed, parameters, machine)
                if measured is None:
                    continue
                if not measured["tasks"]:
                    if not column:
                        self.left_out.append(f"{self._place(line)}: {name}: of how many tasks is not said")
                    continue
                words = (
                    f"LKP {self._mail.name}, {'before' if not column else 'after'}: commit {commit}",
                    f'"{subject}"' if subject else "",
                    machine,
                    f"± {means[column].spread} %" if means[column].spread else "",
                )
                try:
                    self.observations.append(
                        observed(
                            self._mail.file, line.number or 1, dataset=DATASET, machine=box, system=commit,
                            workload=parameters["test"], use="check",
                            source=" ".join(", ".join(filter(None, words)).split()), **measured,
                        )
                    )  # fmt: skip
                except InputError as error:
                    self.faults += error.faults

    # -- what is wrong --------------------------------------------------------------------------------------

    def _fault(
        self,
        line: Line,
        message: str,
        *,
        column: int | None = None,
        value: str | None = None,
        allowed: str | None = None,
    ) -> None:
        if line.number is None:
            message, column = f"{message} (in the text of {self._mail.name})", None
        self.faults.append(Fault(message, self._mail.file, line.number, column, value=value, allowed=allowed))

    def _place(self, line: Line) -> str:
        return ":".join(str(part) for part in (self._mail.file, line.number) if part is not None)


def _means(text: str) -> tuple[list[Mean], int | None]:
    """The means of a row without its name, and where it stops to be one, if it does."""
    found: list[Mean] = []
    at = 0
    while text[at:].strip():
        if found:
            change = _CHANGE.match(text, at)
            if change is None:
                return found, _next_word(text, at)
            at = change.end()
        mean = _MEAN.match(text, at)
        if mean is None:
            return found, _next_word(text, at)
        found.append(Mean(mean["mean"], mean["spread"] or ""))
        at = mean.end()
    return found, None


def _next_word(text: str, at: int) -> int:
    return at + len(text[at:]) - len(text[at:].lstrip())


def _measured(
    name: str, text: str, summed: set[str], parameters: dict[str, str], machine: str
) -> dict[str, object] | None:
    """The cells that tell what a row called *name* measured; None for what another row says better."""
    if match := _SUM.match(name):
        idle = bool(match["idle"])
        return {
            "placement": match["mode"],
            "tasks": int(match["tasks"]),
            "metric": "idle_share" if idle else "throughput",
            "value": text,
            "unit": "%" if idle else "ops/s",
            "exactness": "approx" if "e" in text else "exact",
            "tolerance": IDLE_TOLERANCE if idle else TOLERANCE,
        }
    match = _EACH.match(name)
    assert match is not None
    mode = _MODES[match["mode"]]
    if mode in summed:
        return None
    tasks = _tasks(parameters.get("nr_task", ""), machine)
    return {
        "placement": mode,
        "tasks": tasks,
        "metric": "throughput",
        "value": repr(float(text) * tasks),
        "unit": "ops/s",
        "exactness": "derived",
        "tolerance": TOLERANCE,
    }


def _tasks(nr_task: str, machine: str) -> int:
    """What the parameter `nr_task`, a number or a share of the *machine*'s cpus, comes to; 0 if not known."""
    if nr_task.isdecimal():
        return int(nr_task)
    cpus = _CPUS.match(machine)
    if cpus is None or not nr_task.removesuffix("%").isdecimal():
        return 0
    return int(cpus[1]) * int(nr_task.removesuffix("%")) // 100
