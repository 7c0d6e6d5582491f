"""Does a file run the same program again, and say what is wrong with it where something is?"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import jsonschema
import pytest
import yaml
from kernels import BASE

from sim.errors import InputError
from sim.mm import Mmap, MmapFile, Mprotect, Munmap, ProcessMadvise, Touch
from sim.verify import (
    InHeap,
    InLast,
    OnFile,
    Onto,
    Program,
    Reclaim,
    Replay,
    draw_program,
    read,
    schema,
    text,
    write,
)
from sim.verify.written import KINDS, to_plain

ROOT = Path(__file__).parents[2]

SMALL = """\
replay: 1
scenario: alone
design: linux
mode: alone
ties: fifo
seed: 0
rounds:
  - - - munmap: {at: 16, pages: 1}
"""


def written(program: Program) -> list[list[list[object]]]:
    return [[[to_plain(each) for each in operations] for operations in threads] for threads in program.rounds]


@pytest.mark.parametrize("huge", [False, True])
def test_is_a_program_that_is_written_and_read_the_same(tmp_path: Path, huge: bool) -> None:
    for seed in range(25):
        program = draw_program(Random(seed).choice, ["linux", "rw", "adv"], huge=huge)
        replay = Replay(program.mode, program, 'it: "was" wrong\nin two lines', "mutant")
        write(replay, tmp_path / "x.yaml")
        again = read(tmp_path / "x.yaml")
        assert text(again) == text(replay)
        assert written(again.program) == written(program)
        assert (again.found, again.mutant, again.scenario) == (replay.found, "mutant", program.mode)


def test_does_the_schema_take_what_is_written() -> None:
    checked = jsonschema.Draft202012Validator(schema())
    for seed in range(10):
        program = draw_program(Random(seed).choice, ["linux", "adv"])
        checked.validate(yaml.safe_load(text(Replay(program.mode, program))))
    with pytest.raises(jsonschema.ValidationError):
        checked.validate(yaml.safe_load(SMALL.replace("munmap", "mumap")))


def test_is_the_schema_that_is_kept_the_one_of_the_model() -> None:
    kept = ROOT / "configs/schema/replay.json"
    assert kept.read_text() == json.dumps(schema(), indent=2) + "\n"


def test_are_all_kinds_of_operations_read_as_they_were(tmp_path: Path) -> None:
    unknown: object = None
    asked = [
        InLast(Mprotect(3, 1, 5)),
        OnFile(MmapFile(unknown, 3, 1, True, BASE, populate=True), 1),  # type: ignore[arg-type]
        InHeap(next(kind for kind in KINDS.values() if kind.name == "brk")(3)),  # type: ignore[call-arg]
        ProcessMadvise((range(1, 3), range(7, 8))),
        Touch([BASE, BASE + 1], write=False),
        Mmap(1, BASE, 0),
        Reclaim(),
        Onto(2),
    ]
    write(Replay("alone", Program("linux", "alone", [[asked]])), tmp_path / "x.yaml")
    ((again,),) = read(tmp_path / "x.yaml").program.rounds
    assert again == asked


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("munmap", "mumap", r"8:9: rounds\[0\]\[0\]\[0\]: 'mumap' is no operation"),
        ("pages: 1", "pages: one", "munmap: pages must be a whole number"),
        ("pages: 1", "size: 1", "munmap has no 'size', but at, pages"),
        (", pages: 1", "", "munmap lacks 'pages'"),
        ("{at: 16, pages: 1}", "[16, 1]", "valid dictionary"),
        ("mode: alone", "mode: lone", "mode"),
        ("seed: 0", "seed: zero", r"6:7: seed"),
        ("seed: 0\n", "", "seed: missing"),
        ("seed: 0", "seeds: 0", "unknown key"),
        ("replay: 1", "replay: 2", "replay"),
    ],
)
def test_is_a_file_that_makes_no_sense_told_where(tmp_path: Path, old: str, new: str, says: str) -> None:
    (tmp_path / "x.yaml").write_text(SMALL)
    assert read(tmp_path / "x.yaml").program == Program("linux", "alone", [[[Munmap(16, 1)]]])
    (tmp_path / "x.yaml").write_text(SMALL.replace(old, new))
    with pytest.raises(InputError, match=says):
        read(tmp_path / "x.yaml")
