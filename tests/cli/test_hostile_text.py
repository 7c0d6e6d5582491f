"""Does what a user wrote reach the screen as it was written, and nothing of it the terminal as a command?"""

from __future__ import annotations

import ast
import io
import json
import time
from pathlib import Path

import pytest
from answers import Answer, Command

from sim.analysis.published import COLUMNS
from sim.experiment import Tick, meter
from sim.experiment.running.progress import Slowest
from sim.files import presets
from sim.plaintext import plain
from sim.terminal import TextTable, console, styled

ROOT = Path(__file__).parents[2]

MARKUP = "[/] [bold]x[/bold] [linux-6.13, [a] :smile:"
"""What rich would take for a style that ends, a style, a style of that name, and a picture."""
CONTROL = "\x1b[31mred\x07\x9b32mgreen\u202eback"
"""Colours in two forms, a bell, and a change of direction."""
SHOWN = r"\x1b[31mred\x07\x9b32mgreen\u202eback"
TEXT = f"{MARKUP} {CONTROL}"
YAML = json.dumps(TEXT)
"""The same in a file: escaped, for YAML has no control characters."""

MACHINE = f"""\
name: mine
title: {YAML}
inherits: desktop-8
memory: {{local: {{value: 79 ns, quality: measured, source: {YAML}, note: {YAML}, range: [80 ns, {YAML}]}}}}
sources: {{{YAML}: {YAML}}}
"""
BENCH = f"""\
name: {{name}}
title: {YAML}
family: bench
window: {{{{warm_up: 10 us, length: 100 us, skew: 5 us}}}}
roles: [{{{{who: all, steps: [compute: 500 ns]}}}}]
"""
EXPERIMENT = """\
name: try
title: {title}
machine: desktop-8
designs: [hardware]
workloads: [{workload}]
threads: [1]
"""


def is_harmless(answer: Answer, code: int) -> str:
    """What was said, without a control character in it."""
    said = answer.out + answer.err
    assert answer.code == code, said
    assert "Traceback" not in said
    assert not [character for character in said if character in "\x1b\x07\x9b\u202e"], said
    return said


@pytest.fixture
def files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files with such text everywhere, and an output so wide that no cell is folded."""
    monkeypatch.setattr("sim.terminal._PLAIN_WIDTH", 5000)
    (folder / "mine.yaml").write_text(MACHINE)
    (folder / "workloads").mkdir()
    (folder / "workloads/work.yaml").write_text(BENCH.format(name="work"))
    (folder / "own.yaml").write_text(f"name: own\ntitle: {YAML}\nfamily: bench\n")
    (folder / "try.yaml").write_text(EXPERIMENT.format(title=YAML, workload="workloads/work.yaml"))
    return folder


def test_is_each_part_of_a_file_shown_as_it_was_written(files: Path, command: Command) -> None:
    said = is_harmless(command("show", "mine.yaml"), 0)
    assert said.count(f"{MARKUP} {SHOWN}") == 6, "title, source, range, note; the source and what it is"
    for name in ("workloads/work.yaml", "own.yaml", "try.yaml"):
        assert f"{MARKUP} {SHOWN}" in is_harmless(command("show", name), 0), name


@pytest.mark.parametrize("kind", ["machine", "design", "workload", "experiment"])
def test_are_titles_listed_as_they_were_written(
    files: Path, command: Command, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = files / f"{presets._FOLDERS[kind]}/mine.yaml"  # type: ignore[index]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"name: mine\ntitle: {YAML}\n")
    monkeypatch.setattr(presets, "root", lambda: files)
    lines = is_harmless(command("list", f"{kind}s"), 0).splitlines()
    (line,) = [line for line in lines if line.startswith("mine")]
    assert line.split(maxsplit=1) == ["mine", f"{MARKUP} {SHOWN}"]


@pytest.mark.parametrize(
    "text",
    [
        f"name: bad\ntitle: a\n{YAML}: 3\n",
        f"name: {YAML}\ntitle: a\nfamily: bench\n",
        f"name: bad\ntitle: a\nfamily: {YAML}\n",
        f"name: bad\ninherits: {YAML}\n",
        f"name: bad\nfamily: bench\ntitle: [{YAML}]\n",
        f"name: bad\nfamily: bench\nllfree: {{get: {YAML}}}\n",
        f"name: bad\nfamily: bench\nllfree: {{get: {{value: 3 ns, quality: {YAML}}}}}\n",
        "name: bad\ntitle: " + CONTROL,
    ],
)
def test_are_faults_told_without_effect(files: Path, command: Command, text: str) -> None:
    path = files / "configs/designs/bad.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    for verb in ("check", "show"):
        is_harmless(command(verb, path), 2)


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", TEXT),
        ("run", f"{TEXT}.yaml"),
        ("run", "try.yaml", "--set", f"{TEXT}=3"),
        ("run", "try.yaml", "--set", f"seed={TEXT}"),
        ("run", "try.yaml", "--set", f"design.title=[{TEXT}"),
        ("run", "try.yaml", "--threads", TEXT),
        ("run", "try.yaml", "--workers", TEXT),
        ("run", "try.yaml", "--shard", TEXT),
        ("run", "try.yaml", "--scheduler", TEXT),
        ("run", "try.yaml", "--executor", TEXT),
        ("merge", TEXT, "--out", "whole"),
        ("list", TEXT),
        ("show", TEXT),
        ("check", f"{TEXT}.yaml"),
        ("init", f"try.yaml/{TEXT}"),
        ("schema", f"try.yaml/{TEXT}"),
        ("validate", "--data", TEXT),
        ("validate", "--dataset", TEXT),
        ("fit", TEXT, "--try", "machine.memory.local=[80 ns]"),
        ("fit", "xeon-6252x2", "--try", TEXT),
        ("fit", "xeon-6252x2", "--try", "machine.memory.local=[80 ns]", "--data", TEXT),
        ("plot", TEXT),
        ("compare", TEXT, TEXT),
        ("compare", ".", "try.yaml", "--as", TEXT),
        ("compare", ".", "try.yaml"),
        ("import", "will-it-scale", TEXT),
        ("import", "will-it-scale", "try.yaml", "--machine", TEXT),
        ("import", "lkp", "try.yaml"),
        ("import", "lkp", "try.yaml", "--as", f"{TEXT}="),
        ("import", TEXT),
        (TEXT,),
        ("run", "try.yaml", "--out", "try.yaml/\udcff"),
    ],
)
def test_are_arguments_told_without_effect(files: Path, command: Command, arguments: tuple[str, ...]) -> None:
    answer = command(*arguments)
    is_harmless(answer, answer.code)
    assert answer.code in (1, 2)


def test_does_a_run_say_its_names_as_they_are(files: Path, command: Command) -> None:
    name = MARKUP.replace("/", "|") + CONTROL
    (files / f"{name}.yaml").write_text(BENCH.format(name=json.dumps(name)))
    (files / "try.yaml").write_text(EXPERIMENT.format(title=YAML, workload=json.dumps(f"./{name}.yaml")))
    out = files / name
    said = is_harmless(command("run", "try.yaml", "--no-plots", "--out", out, "--workers", 1), 0)
    assert f"tables: {out}".replace(CONTROL, SHOWN) in said
    assert f"\n{name} ".replace(CONTROL, SHOWN) in said
    lines = is_harmless(command("run", "try.yaml", "--no-plots", "--json", "--out", "other"), 0).splitlines()
    assert any(name in (json.loads(line).get("point") or "") for line in lines)
    again = is_harmless(command("run", "try.yaml", "--no-plots", "--out", out), 2)
    assert "holds a run of this experiment already" in again
    (files / f"{name}.yaml").rename(files / f"workloads/{name}.yaml")
    checked = is_harmless(command("check", files / f"workloads/{name}.yaml"), 0)
    assert name.replace(CONTROL, SHOWN) + " is fine" in checked


def test_does_a_failed_point_say_why_without_effect(files: Path, command: Command) -> None:
    """Its error names the workload, whose name is such a text."""
    name = MARKUP.replace("/", "|") + CONTROL
    short = BENCH.replace("length: 100 us", "length: 1 ns").format(name=json.dumps(name))
    (files / f"{name}.yaml").write_text(short)
    (files / "try.yaml").write_text(EXPERIMENT.format(title="a", workload=json.dumps(f"./{name}.yaml")))
    said = is_harmless(command("run", "try.yaml", "--no-plots", "--out", "out"), 1)
    assert f"{name} measured nothing".replace(CONTROL, SHOWN) in said


def test_do_validation_and_fit_print_what_the_file_says(files: Path, command: Command) -> None:
    rows = [
        f'"{TEXT}",desktop-8,hardware,private-work,,1,throughput,2,Mops/s,exact,0.1,calibrate,"{TEXT}"',
        f'"{TEXT}",desktop-8,hardware,private-work,,2,throughput,9,Mops/s,exact,0.1,check,"{TEXT}"',
        f'"{TEXT}",desktop-8,"{TEXT}","{TEXT}","{TEXT}",1,throughput,2,Mops/s,exact,0.1,check,"{TEXT}"',
    ]
    (files / "rows.csv").write_text("\n".join([",".join(COLUMNS), *rows, ""]))
    validated = ("validate", "--data", "rows.csv", "--workers", 1, "--report", "page.md", "--out", "out")
    said = is_harmless(command(*validated), 1)
    assert f"{MARKUP} {SHOWN}: published beside simulated" in said
    assert f"no workload named {MARKUP} {SHOWN}" in said
    page = (files / "page.md").read_text()
    assert "\x1b" not in page
    assert r"## \[/] \[bold]x\[/bold] \[linux-6.13, \[a] :smile: \\x1b\[31mred" in page
    tried = ("--try", "machine.memory.local=[79 ns]", "--data", "rows.csv", "--workers", 1)
    is_harmless(command("fit", "desktop-8", *tried), 0)


@pytest.mark.parametrize("terminal", [True, False])
def test_does_the_meter_show_labels_as_they_are(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1" if terminal else "")
    stream = io.StringIO()
    screen = console(stream)
    screen.width = 400
    assert screen.is_terminal == terminal
    with meter(screen) as progress:
        progress(Tick(0, 2, 0, 0, 0.0, None))
        progress(Tick(2, 2, 0, 0, 1.0, TEXT, Slowest(TEXT, 3.0)))
        time.sleep(0.3 if terminal else 0)  # a bar is drawn ten times a second
    assert f"3 s: {MARKUP} {SHOWN}" in stream.getvalue()
    assert "\x1b[31m" not in stream.getvalue()


def test_is_a_string_text_on_any_console() -> None:
    """On ours wherever it stands, and in our tables and lines on any."""
    from rich.console import Console

    table = TextTable(MARKUP, title=MARKUP)
    table.add_row(TEXT)
    ours, any_console = console(io.StringIO()), Console(file=io.StringIO(), width=200)
    for screen in (ours, any_console):
        screen.print(table, styled(TEXT, "bold"))
        said = screen.file.getvalue()  # type: ignore[attr-defined]
        assert said.count(MARKUP) == 4
        assert said.count(SHOWN) == 2
        assert "\x1b" not in said
    ours.print(TEXT)
    assert ours.file.getvalue().endswith(f"{MARKUP} {SHOWN}\n")  # type: ignore[attr-defined]


def test_is_ordinary_text_of_any_language_left_alone() -> None:
    text = "µs ± 5 %, naïve, 日本語, emoji 🎉, tab\tand\nline"
    assert plain(text) == text


@pytest.mark.ci
def test_does_everything_that_is_printed_go_through_one_door() -> None:
    """No module but the two that know better builds rich's classes or prints."""
    for path in sorted((ROOT / "sim").rglob("*.py")):
        if path.name in ("terminal.py", "plaintext.py"):
            continue
        tree = ast.parse(path.read_text())
        typing_only = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if id(node) not in typing_only:
                assert not [name for name in names if name.split(".")[0] == "rich"], f"{path}:{node.lineno}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "print", f"{path}:{node.lineno}: sim.plaintext.say prints"
