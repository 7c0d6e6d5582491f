"""Are the tables in the kernel test robot's mails read, however the mail comes?"""

from __future__ import annotations

import quopri
from base64 import encodebytes
from pathlib import Path

import pytest
from suite import MAIL, REPLY

from sim.analysis.lkp import Imported, read_lkp
from sim.analysis.published import Observation
from sim.errors import InputError

HEADERS = """\
From lkp@example.org Tue Jan  2 15:14:38 2024
From: kernel test robot <lkp@example.org>
To: Somebody <somebody@example.org>
Subject: [linux-next:master] [mm]  89abcdef01:
 will-it-scale.per_thread_ops 25.0% improvement
Message-ID: <202401021514.89abcdef-lkp@example.org>
Content-Type: text/plain; charset="iso-8859-1"
Content-Transfer-Encoding: {}

"""


def read(folder: Path, *mails: str | bytes) -> Imported:
    paths = [folder / f"mail-{number}" for number in range(len(mails))]
    for path, mail in zip(paths, mails, strict=True):
        path.write_bytes(mail if isinstance(mail, bytes) else mail.encode())
    return read_lkp(paths)


def short(row: Observation) -> tuple[str, str, str, str, int, str, float]:
    return row.machine, row.system, row.workload, row.placement, row.tasks, row.metric, row.value


FOUND = [
    ("lkp-some-2sp1", "0123456789", "mmap1", "threads", 8, "throughput", 800000),
    ("lkp-some-2sp1", "0123456789", "mmap1", "threads", 8, "idle_share", 49.7),
    ("lkp-some-2sp1", "89abcdef01", "mmap1", "threads", 8, "throughput", 1000000),
    ("lkp-some-2sp1", "89abcdef01", "mmap1", "threads", 8, "idle_share", 51.84),
    ("lkp-other-4sp2", "v6.99-rc3", "brk1", "processes", 1, "throughput", 2000000),
    ("lkp-other-4sp2", "v6.99-rc3", "brk1", "processes", 64, "throughput", 1.197e8),
    ("lkp-other-4sp2", "v6.99-rc3", "brk1", "processes", 64, "idle_share", 0.12),
    ("lkp-other-4sp2", "89abcdef01", "brk1", "processes", 1, "throughput", 2200000),
    ("lkp-other-4sp2", "89abcdef01", "brk1", "processes", 64, "throughput", 1.317e8),
    ("lkp-other-4sp2", "89abcdef01", "brk1", "processes", 64, "idle_share", 0.11),
]
"""What `MAIL` says, first before and then after the commit."""


def test_are_the_rows_before_and_after_two_sets(tmp_path: Path) -> None:
    imported = read(tmp_path, MAIL)
    assert [short(row) for row in imported.observations] == FOUND
    assert imported.left_out == []


def test_says_a_source_where_and_what_it_was(tmp_path: Path) -> None:
    rows = read(tmp_path, MAIL).observations
    assert rows[0].source == (
        'LKP mail-0, before: commit 0123456789, "mm: hold it", '
        "8 threads 2 sockets Some(R) CPU @ 2.0GHz (Some Lake) with 16G memory, ± 3 %"
    )
    assert rows[2].source.startswith(
        'LKP mail-0, after: commit 89abcdef01, "mm: hold it for less long", 8 threads'
    )
    assert "64 threads 4 sockets Other(R)" in rows[4].source
    assert {(row.exactness, row.use) for row in rows} == {("exact", "check"), ("approx", "check")}
    assert [row.value for row in rows if row.exactness == "approx"] == [1.197e8, 1.317e8]
    line = (
        MAIL.splitlines().index("    800000 ±  3%     +25.0%    1000000        will-it-scale.8.threads") + 1
    )
    assert (rows[0].file, rows[0].line) == (str(tmp_path / "mail-0"), line)


RAW = MAIL.encode("latin-1")
WAYS = {
    "utf-8": MAIL.encode(),
    "latin-1 text": RAW,
    "windows lines": MAIL.replace("\n", "\r\n").encode(),
    "byte order mark": b"\xef\xbb\xbf" + MAIL.encode(),
    "the sign lost": MAIL.replace("±", "\ufffd").encode(),
    "the sign in letters": MAIL.replace("±", "+-").encode(),
    "quoted": "".join(f"> {line}\n" for line in MAIL.splitlines()).encode(),
    "quoted twice": "".join(f"> >{line}\n" for line in MAIL.splitlines()).encode(),
    "a mail, 8bit": HEADERS.format("8bit").encode() + RAW,
    "a mail, quoted-printable": HEADERS.format("quoted-printable").encode() + quopri.encodestring(RAW),
    "a mail, base64": HEADERS.format("base64").encode() + encodebytes(RAW),
    "a mail of an unknown charset": HEADERS.format("8bit").replace("iso-8859-1", "x-unknown").encode() + RAW,
    "an mbox with a mail before": b"hello\n\n".join([HEADERS.format("8bit").encode()] * 2) + RAW,
    "said again in a reply": (MAIL + "".join(f"> {line}\n" for line in MAIL.splitlines())).encode(),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_is_the_same_read_however_the_mail_comes(way: str, tmp_path: Path) -> None:
    assert [short(row) for row in read(tmp_path, WAYS[way]).observations] == FOUND


def test_is_a_mail_with_headers_called_by_its_message_id(tmp_path: Path) -> None:
    rows = read(tmp_path, WAYS["a mail, 8bit"]).observations
    assert rows[0].source.startswith("LKP 202401021514.89abcdef-lkp@example.org, before: ")
    line = (
        MAIL.splitlines().index("    800000 ±  3%     +25.0%    1000000        will-it-scale.8.threads") + 1
    )
    assert rows[0].line == HEADERS.count("\n") + line


def test_are_three_commits_and_folded_lines_read(tmp_path: Path) -> None:
    """The sum is not printed: 50 % of the machine's 8 cpus times what each did."""
    imported = read(tmp_path, MAIL, "test machine: 8 threads 1 socket\n" + REPLY)
    rows = imported.observations[len(FOUND) :]
    assert [
        (row.system, row.workload, row.placement, row.tasks, row.value, row.exactness) for row in rows
    ] == [
        ("0123456789", "pwrite1", "processes", 4, 400000, "derived"),
        ("89abcdef01", "pwrite1", "processes", 4, 420000, "derived"),
        ("fedcba9876", "pwrite1", "processes", 4, 360000, "derived"),
    ]
    assert imported.left_out == [f"{tmp_path}/mail-1:4: a table below no line of parameters is left out"]


def test_is_a_mean_of_an_unknown_number_of_tasks_left_out_by_name(tmp_path: Path) -> None:
    imported = read(tmp_path, MAIL, REPLY)
    assert [short(row) for row in imported.observations] == FOUND
    line = len(REPLY.splitlines())
    assert imported.left_out[1:] == [
        f"{tmp_path}/mail-1:{line}: will-it-scale.per_process_ops: of how many tasks is not said"
    ]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("1000000        will-it-scale.8.threads", "many        will-it-scale.8.threads",
         ":36:32: not a row of this table: 1 of 2 values are understood"),
        ("800000 ±  3%     +25.0%    1000000        will-it-scale.8.threads\n",
         "800000        will-it-scale.8.threads\n",
         ":36:19: not a row of this table: 1 of 2 values are understood"),
        ("  gcc-12/performance/x86_64-rhel-9.4/thread/", "  gcc-12/x86_64-rhel-9.4/thread/",
         ":23: 8 values for 9 parameters"),
        ("tbox_group/test/testcase:\n  gcc-14", "tbox/test/testcase:\n  gcc-14",
         ":46: the parameters do not name the tbox_group"),
        ("49.70            +4.3%      51.84", "fine            +4.3%      51.84",
         ":37:6: not a row"),
        (MAIL, "Hello,\n", ": no table of will-it-scale in this file (allowed: the text of a mail"),
        (MAIL, "", ": no table of will-it-scale in this file"),
        (MAIL, "\n\0", ":2: not a text file: it has a NUL"),
    ],
)  # fmt: skip
def test_is_what_is_wrong_told_with_line_and_column(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in MAIL
    with pytest.raises(InputError) as caught:
        read(tmp_path, MAIL.replace(old, new))
    (fault,) = caught.value.faults
    assert str(fault).startswith(f"{tmp_path}/mail-0{says}")


def test_counts_a_column_in_the_quoted_line(tmp_path: Path) -> None:
    quoted = "".join(f"> > {line}\n" for line in MAIL.replace("49.70", "fine ").splitlines())
    with pytest.raises(InputError, match=r"mail-0:37:10: not a row"):
        read(tmp_path, quoted)


def test_is_a_fault_in_an_encoded_text_told_without_a_wrong_line(tmp_path: Path) -> None:
    broken = encodebytes(MAIL.replace("49.70", "fine ").encode("latin-1"))
    with pytest.raises(InputError, match=r"mail-0: not a row of .* \(in the text of 2024.*example.org\)"):
        read(tmp_path, HEADERS.format("base64").encode() + broken)


def test_are_tables_of_other_tests_no_fault(tmp_path: Path) -> None:
    other = MAIL.replace("brk1/will-it-scale", "switch/stress-ng")
    assert [short(row) for row in read(tmp_path, other).observations] == FOUND[:4]


def test_is_a_mail_of_which_nothing_can_be_used_refused_with_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, REPLY)
    assert [str(fault).partition(": ")[2] for fault in caught.value.faults] == [
        "a table below no line of parameters is left out",
        "will-it-scale.per_process_ops: of how many tasks is not said",
    ]
