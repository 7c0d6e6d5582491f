"""Do other programs' files become rows that `validate` reads, and say what is wrong with them?"""

from __future__ import annotations

from pathlib import Path

import pytest
from answers import Command

from sim.analysis.published import COLUMNS, read_published

SUITE = """\
tasks,processes,processes_idle,threads,threads_idle,linear
0,0,100,0,100,0
1,0,0.00,1600000,97.90,0
4,0,0.00,5900000,91.60,0
"""
MAIL = """\
test machine: 4 threads 1 sockets Some CPU
=====================================
mode/nr_task/tbox_group/test/testcase:
  thread/100%/lkp-some/mcs-lock2/will-it-scale

commit:
  0123456789 ("before it")
  89abcdef01 ("it")

0123456789abcdef 89abcdef0123456789abcdef012
---------------- ---------------------------
   5900000 ±  2%      +5.0%    6195000        will-it-scale.4.threads
     91.60            +0.0%      91.60        will-it-scale.4.threads_idle
"""


def test_is_the_suite_s_file_written_as_published_rows(command: Command, folder: Path) -> None:
    (folder / "mcs-lock2.csv").write_text(SUITE)
    answer = command(
        "import", "will-it-scale", "mcs-lock2.csv", "--machine", "xeon-6252x2", "--system", "lock"
    )
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert lines[1] == (
        "will-it-scale,xeon-6252x2,lock,mcs-lock2,threads,1,throughput,1600000,ops/s,exact,0.25,check,"
        '"will-it-scale, mcs-lock2.csv line 3"'
    )
    assert len(lines) == 1 + 2 * 2


def test_is_what_a_file_does_not_name_said(command: Command, folder: Path) -> None:
    (folder / "mcs-lock2.csv").write_text(SUITE)
    answer = command("import", "will-it-scale", "mcs-lock2.csv", "--workload", "w", "--out", "new/rows.csv")
    assert answer.code == 0
    assert answer.err.splitlines() == [
        "the machine is called unnamed-machine in these rows: --machine NAME gives it a name",
        "the system is called unnamed-kernel in these rows: --system NAME gives it a name",
    ]
    assert answer.out == "4 rows: new/rows.csv\n"
    assert {row.workload for row in read_published([Path("new/rows.csv")])} == {"w"}


def test_is_a_mail_two_sets_of_rows(command: Command, folder: Path) -> None:
    (folder / "mail").write_text(MAIL)
    answer = command("import", "lkp", "mail", "--as", "lkp-some=xeon-6252x2", "--as", "89abcdef01=lock")
    assert (answer.code, answer.err) == (0, "")
    found = [line.split(",")[1:8] for line in answer.out.splitlines()[1:]]
    assert found == [
        ["xeon-6252x2", "0123456789", "mcs-lock2", "threads", "4", "throughput", "5900000"],
        ["xeon-6252x2", "0123456789", "mcs-lock2", "threads", "4", "idle_share", "91.60"],
        ["xeon-6252x2", "lock", "mcs-lock2", "threads", "4", "throughput", "6195000"],
        ["xeon-6252x2", "lock", "mcs-lock2", "threads", "4", "idle_share", "91.60"],
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("will-it-scale", "gone.csv"), ["gone.csv: cannot read the file: no such file or directory"]),
        (("will-it-scale", "bad.csv", "worse.csv"), ["bad.csv:3: threads: not", "worse.csv:1: unknown"]),
        (("will-it-scale", "good.csv", "--machine", " "), ["--machine: this is no name (got ' ')"]),
        (("will-it-scale", "good.csv", "good.csv", "--workload", "a"), ["--workload a: names one test, "]),
        (("will-it-scale", "good.csv", "--out", "."), [".: this is a directory, not a file"]),
        (("lkp", "good.csv"), ["good.csv: no table of will-it-scale in this file"]),
        (("lkp", "mail", "--as", "lkp-som=x"), ["--as lkp-som=x: nothing is called lkp-som (allowed: l"]),
        (("lkp", "mail", "--as", "x"), ["--as x: not understood (allowed: NAME=OTHER)"]),
        (("lkp", "mail", "--as", "a=b", "--as", "a=c"), ["--as a=c: contradicts --as a=b"]),
        (("lkp", "broken"), ["broken:12:32: not a row of this table: 1 of 2 values are understood"]),
        (("lkp",), ["cortensim import lkp: the following arguments are required: FILE"]),
        (("perf", "x"), ["cortensim import: argument KIND: invalid choice: 'perf'"]),
    ],
)  # fmt: skip
def test_is_bad_input_one_message_a_fault(
    command: Command, folder: Path, arguments: tuple[str, ...], says: list[str]
) -> None:
    (folder / "good.csv").write_text(SUITE)
    (folder / "bad.csv").write_text(SUITE.replace("1600000", "many"))
    (folder / "worse.csv").write_text("name: a\n")
    (folder / "mail").write_text(MAIL)
    (folder / "broken").write_text(MAIL.replace("6195000", "no no no"))
    answer = command("import", *arguments)
    assert (answer.code, answer.out) == (2, "")
    first = [next(line for line in answer.err.splitlines() if line.startswith(start)) for start in says]
    assert len(first) == len(says)
