"""What does the loader make of a file, and what does it refuse?"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sim.errors import Fault
from sim.files import read_document
from sim.files.document import Position
from sim.files.loader import MAX_ALIASES, MAX_BYTES, MAX_DEPTH, parse_document


def parse(text: str) -> tuple[object, list[str]]:
    faults: list[Fault] = []
    document = parse_document(text, "f.yaml", faults)
    return document and document.tree, [str(fault) for fault in faults]


LOADERS = [getattr(yaml, name) for name in ("SafeLoader", "CSafeLoader") if hasattr(yaml, name)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e6", 1_000_000),
        ("5e7", 50_000_000),
        ("1.5e3", 1500.0),
        ("-3", -3),
        ("+3", 3),
        ("0", 0),
        ("0.25", 0.25),
        (".5", 0.5),
        ("0x1F", 31),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("120 ns", "120 ns"),
        ("1_000 ns", "1_000 ns"),
        ("'010'", "010"),
        ('"no"', "no"),
        ("'2024-01-01'", "2024-01-01"),
        ("6.13", 6.13),
        ("linux-6.13", "linux-6.13"),
        ("[1, 2 MiB]", [1, "2 MiB"]),
    ],
)
def test_what_is_a_scalar(text: str, value: object) -> None:
    tree, faults = parse(f"key: {text}\n")
    assert faults == []
    assert tree == {"key": value}
    assert type(tree["key"]) is type(value)  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("010", "octal"),
        ("0o17", "octal"),
        ("0b11", "octal or binary"),
        ("1:30", "base-60"),
        ("1_000", "one number"),
        ("1_000.5", "one number"),
        ("no", "true or false"),
        ("Yes", "true or false"),
        ("ON", "true or false"),
        ("2024-01-01", "a date"),
        ("2024-01-01 10:00:00", "a date"),
        (".inf", "not a finite number"),
        ("-.INF", "not a finite number"),
        (".nan", "not a finite number"),
        ("1e999", "not a finite number"),
        ("9" * 5000, "out of range"),
        ("9223372036854775808", "out of range"),
        ("!!python/object:os.system x", "YAML tags are not allowed"),
        ("!include x", "YAML tags are not allowed"),
        ("*nowhere", "an alias without its anchor"),
    ],
)
def test_which_values_are_refused_where_they_stand(text: str, words: str) -> None:
    _, faults = parse(f"ok: 1\nkey: {text}\n")
    assert len(faults) == 1
    assert faults[0].startswith("f.yaml:2:6: key: ")
    assert words in faults[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f.yaml:1:1: the file is empty"),
        ("# only a comment\n", "f.yaml:1:1: the file is empty"),
        ("---\n", "f.yaml:1:1: the file is empty"),
        ("just words\n", "f.yaml:1:1: the file must be a mapping of keys to values (got 'just words')"),
        ("- 1\n", "f.yaml:1:1: the file must be a mapping of keys to values (got [1])"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1: a second YAML document: one a file"),
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: a: repeated key, first written on line 1"),
        ("a:\n  b: 1\n  b: 2\n", "f.yaml:3:3: a.b: repeated key, first written on line 2"),
        ("a: {b: 1, b: 2}\n", "f.yaml:1:11: a.b: repeated key, first written on line 1"),
        ("<<: {a: 1}\n", "f.yaml:1:1: merge keys are not allowed: use `inherits` (got '<<')"),
        ("[1]: 2\n", "f.yaml:1:1: a key must be plain text"),
        ("a: &x [*x]\n", "f.yaml:1:8: a[0]: an alias to a value that contains it (got '*x')"),
    ],
)
def test_which_documents_are_refused(text: str, message: str) -> None:
    assert parse(text)[1] == [message]


@pytest.mark.parametrize("text", ["a: [1, 2\n", "a: b: c\n", "a: 'x\n", "\tb: 1\n", "a: @x\n", "{a: 1]\n"])
def test_is_broken_syntax_one_fault_with_its_place(text: str) -> None:
    tree, faults = parse(text)
    assert tree is None
    assert len(faults) == 1
    assert faults[0].startswith("f.yaml:")
    assert "not valid YAML" in faults[0]


@pytest.mark.parametrize("loader", LOADERS)
def test_is_a_limit_that_is_broken_before_a_syntax_error_what_is_reported(
    loader: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim.files.loader._Loader", loader)
    deep = "a: " + "[" * (MAX_DEPTH + 1)
    assert parse(deep + "@")[1] == [f"f.yaml:1:{3 + MAX_DEPTH}: nested deeper than {MAX_DEPTH} levels"]
    assert "not valid YAML" in parse("a: " + "[" * (MAX_DEPTH - 1) + "@")[1][0]


def test_are_all_faults_of_a_file_reported_at_once() -> None:
    _, faults = parse("a: 010\nb: no\na: 1\nc: !t 1\n")
    assert [fault.split(": ")[0] for fault in faults] == [
        "f.yaml:1:4",
        "f.yaml:2:4",
        "f.yaml:3:1",
        "f.yaml:4:4",
    ]


def test_does_an_alias_bomb_stop_early() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    _, faults = parse("\n".join(lines))
    assert faults == [f"f.yaml:5:14: a4[0][0]: more than {MAX_ALIASES} aliases"] or len(faults) == 1
    assert "aliases" in faults[0]


def test_are_a_few_aliases_fine() -> None:
    assert parse("a: &x {b: 1}\nc: *x\n") == ({"a": {"b": 1}, "c": {"b": 1}}, [])


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("nest", ["[", "{a: "])
def test_does_deep_nesting_stop_early(nest: str, loader: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever parser reads it, and however far ahead: libyaml has a limit of its own far inside."""
    monkeypatch.setattr("sim.files.loader._Loader", loader)
    _, faults = parse("a: " + nest * 100_000)
    assert faults == [f"f.yaml:1:{4 + (MAX_DEPTH - 1) * len(nest)}: nested deeper than {MAX_DEPTH} levels"]


def test_does_the_document_know_where_keys_and_values_stand() -> None:
    faults: list[Fault] = []
    document = parse_document("a: 1\nb:\n  - x: 120 ns\n    y: 2\n", "f.yaml", faults)
    assert document is not None
    assert document.positions["b", 0, "x"] == Position("f.yaml", 3, 8)
    assert document.keys["b", 0, "y"] == Position("f.yaml", 4, 5)
    assert document.position(("b", 0, "gone")) == Position("f.yaml", 3, 5)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: \xff\n", "bad.yaml:1:4: not UTF-8 text: byte 0xff"),
        (b"a: 1\nb: \x00\n", "bad.yaml:2:4: not a text file: control character 0x00"),
        (b"\x89PNG\r\n\x1a\n", "bad.yaml:1:1: not UTF-8 text: byte 0x89"),
        (b"#" * (MAX_BYTES + 1), f"bad.yaml: the file is larger than {MAX_BYTES >> 10} KiB"),
    ],
)
def test_which_bytes_are_refused(
    data: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.yaml"
    path.write_bytes(data)
    faults: list[Fault] = []
    assert read_document(path, faults) is None
    assert [str(fault) for fault in faults] == [message]


def test_what_if_there_is_no_file_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.yaml").mkdir()
    faults: list[Fault] = []
    for name in ("folder.yaml", "gone.yaml", "folder.yaml/x.yaml"):
        assert read_document(tmp_path / name, faults) is None
    assert [str(fault) for fault in faults] == [
        "folder.yaml: this is a directory, not a file",
        "gone.yaml: cannot read the file: no such file or directory",
        "folder.yaml/x.yaml: cannot read the file: no such file or directory",
    ]


def test_is_a_byte_order_mark_harmless(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    faults: list[Fault] = []
    document = read_document(path, faults)
    assert document is not None
    assert (document.tree, faults) == ({"a": 1}, [])
