"""Does every block of code in the pages run? One mechanism for all pages that have no test of their own.

A page is a session: its blocks are done in their order, in one folder. Runs get few threads and one design,
`--point` and Python take these thread counts too, and what needs a run that the page does not make finds a
small one. What is not run stands in `NOT_RUN` or `ONLY_READ`, with its reason; pages with a test of their own
are in `ELSEWHERE`.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from answers import Command

import sim
from sim.cli import parser
from sim.files import KINDS, kind_of, spec_types
from sim.verify import replays

ROOT = Path(__file__).parents[2]
CODE = ("sh", "console", "python", "yaml", "csv", "toml", "dockerfile")
"""Blocks of other kinds show output."""

ELSEWHERE: Mapping[str, str] = {
    "README.md": "tests/docs/test_examples.py",
    "docs/extending.md": "tests/docs/test_examples.py",
    "docs/workloads.md": "tests/docs/test_examples.py",
    "docs/how-to.md": "tests/cli/test_how_to.py",
    "docs/cookbook/*": "tests/cli/test_cookbook.py",
}
"""Page -> the test that does its blocks."""

LONG = {"docs/analysis.md"}
"""Pages whose commands take half a minute: a slow test."""

NOT_RUN: Mapping[str, str] = {
    "pip install": "installs; tests/packaging installs the wheel",
    ".venv/bin/python -m tools.compile_model": "takes minutes; CI does it and runs golden points",
    "python -m benchmarks": "measures, for minutes; tests/tools/test_benchmarks.py runs parts of it",
    "dask ": "starts a cluster; tests/experiment runs on one",
    "helm ": "needs a Kubernetes cluster; the page says that this recipe was not run",
    "kubectl ": "needs a Kubernetes cluster; the page says that this recipe was not run",
    "FROM python": "needs Docker; the page says that this recipe was not run",
    "# cluster.yaml": "needs a Kubernetes cluster; read as YAML only",
    "python slurm_cluster.py": "needs SLURM; tests/slurm/trial sets one up",
    "cluster = SLURMCluster(": "needs SLURM; compared with tests/slurm/slurm_cluster.py below",
}
"""How a command or block begins that is not ours to run here -> why."""

ONLY_READ: Mapping[str, str] = {
    "validate": "simulates all rows of a data set: minutes",
    "fit": "simulates all rows of a data set, several times",
    "merge": "its shards are the rest of a run of half an hour; tests/cli/test_sweep_commands.py merges some",
    "verify": "looks for a minute and more; tests/cli/test_verify_command.py looks for less",
    "import lkp": "reads a mail of somebody's; tests/cli/test_import.py has mails",
    "compare results/mine": "needs measurements of what was run; tests/cli/test_compare.py makes them",
}
"""How the arguments of a command begin that are only parsed -> why."""

DRY = ("whatif", "sensitivity")
"""Commands that say what they would simulate, and have tests that do it."""

FENCE = re.compile(r"^```([\w{}-]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEREDOC = re.compile(r"^cat > (\S+) <<'END'\n(.*?)^END\n", re.MULTILINE | re.DOTALL)
FEW = 2
ONE = {"designs": ["linux-6.13"], "workloads": ["pf"]}


def pages() -> list[str]:
    """All pages, by their paths in the repository."""
    found = [ROOT / "README.md", ROOT / "results/published/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [path.relative_to(ROOT).as_posix() for path in found]


def blocks(page: str) -> list[tuple[str, str]]:
    """Kind and text of each block of code of a page."""
    return [
        (kind, text)
        for kind, text in FENCE.findall((ROOT / page).read_text(encoding="utf-8"))
        if kind in CODE
    ]


def told_elsewhere(page: str) -> str | None:
    return next((test for pattern, test in ELSEWHERE.items() if Path(page).match(pattern)), None)


HERE = [page for page in pages() if blocks(page) and not told_elsewhere(page)]


def lines(text: str, kind: str) -> list[str]:
    """The command lines of a block, those that go on joined; of a console what follows the prompt."""
    whole = text.replace("\\\n", " ").splitlines()
    if kind == "console":
        return [line[2:] for line in whole if line.startswith("$ ")]
    return [line.split("  #")[0].strip() for line in whole if line.strip() and not line.startswith("#")]


def begins(text: str, known: Mapping[str, str]) -> bool:
    return any(text.startswith(start) for start in known)


def small(text: str) -> str:
    """*text* with small numbers of threads."""
    return re.sub(r"\bthreads=(\d+)", lambda match: f"threads={min(int(match[1]), FEW)}", text)


class Session:
    """What a page's blocks are done in: a folder, and the command line."""

    def __init__(self, page: str, command: Command, finished: Path) -> None:
        self.page, self.command, self.finished = page, command, finished

    def do(self, kind: str, text: str) -> None:
        if begins(text, NOT_RUN) and kind in ("python", "dockerfile"):
            return
        if kind in ("sh", "console"):
            for name, content in HEREDOC.findall(text):
                Path(name).write_text(content, encoding="utf-8")
            for line in lines(HEREDOC.sub("", text), kind):
                self.line(line)
        elif kind == "python":
            exec(compile(small(text), self.page, "exec"), {"__name__": "page"})
        elif kind == "yaml":
            self.yaml(text)
        elif kind == "csv":
            Path("example.csv").write_text(text, encoding="utf-8")
        else:
            raise AssertionError(f"nothing does a block of this kind: {kind}")

    def yaml(self, text: str) -> None:
        """A file has a name and is checked as its kind; a part of one has keys that some kind has."""
        tree = yaml.safe_load(text)
        assert isinstance(tree, dict)
        if "apiVersion" in tree:
            return
        place = Path(f"{tree.get('name', 'part')}.yaml")
        place.write_text(text, encoding="utf-8")
        if {*tree} == {"order"}:  # of a replay
            assert {*tree} < {*replays.ReplayFile.model_fields}
            return
        if "replay" in tree:
            replays.read(place)
            return
        if "name" in tree:
            assert kind_of(place)
        known = [{*model.model_fields} for kind in KINDS for model in spec_types.all_of(kind)]
        beside = {"inherits", "sources", "machine", "include"}
        assert any({*tree} <= keys | beside for keys in known), {*tree}

    def line(self, line: str) -> None:
        if begins(line, NOT_RUN):
            return
        name, *words = shlex.split(small(line.removesuffix("&")))
        assert name == "cortensim", line
        if begins(" ".join(words), ONLY_READ):
            parser().parse_args(words)
            return
        answer = self.command(*words, *self.less(words))
        assert answer.code == 0, (line, answer.err)

    def less(self, words: list[str]) -> list[str]:
        """Options that make a command small; and the runs that it reads are made, if the page has not."""
        verb, *rest = words
        if verb == "run":
            counts = f"1,{FEW}" if rest[0] == "quickstart" else f"{FEW}"  # a curve has two
            less = ["--threads", counts, "--no-plots", "--quiet", "--workers", "1"]
            if "dask" in rest or "--shard" in rest or rest[0].startswith("hardware-"):
                less.append("--dry-run")
            if not rest[0].endswith(".yaml"):
                less += [] if "--designs" in rest else ["--designs", "linux-6.13"]
                less += [] if "--set" in rest else ["--set", "workloads=[pf]"]
                less += ["--set", "workload.pooled_threads=2"] if rest[0] == "paper-micro" else []
            return less
        if verb == "import":
            for file in (word for word in rest if word.endswith(".csv") and word != "rows.csv"):
                shutil.copy("example.csv", file)
            return []
        for run in (
            (rest[:2] if verb == "compare" else rest[:1]) if verb not in ("trace", "sensitivity") else ()
        ):
            if not Path(run).exists() and not Path("results", run).exists():
                shutil.copytree(self.finished, run)
        return ["--dry-run"] if verb in DRY else []


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run, to be copied to where a page has one of its own."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    experiment = sim.load("quickstart", {"threads": [FEW], **ONE})
    sim.run(experiment, out=folder, workers=1)
    return folder


@pytest.fixture
def few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sim.load` as a page calls it, with few threads and one curve."""
    load: Callable[..., Any] = sim.load

    def fewer(name: str, changes: Mapping[str, object] | None = None) -> Any:
        return load(name, {**(changes or {}), "threads": [1, FEW], **ONE})

    monkeypatch.setattr(sim, "load", fewer, raising=False)


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow if page in LONG else pytest.mark.ci) for page in HERE],
)
@pytest.mark.usefixtures("few_points", "folder")
def test_do_the_blocks_of_the_page_work(page: str, command: Command, finished: Path) -> None:
    session = Session(page, command, finished)
    for kind, text in blocks(page):
        session.do(kind, text)


def starts() -> Iterator[str]:
    """How what is run begins: blocks, lines, and the arguments of our own commands."""
    for page in HERE:
        for kind, text in blocks(page):
            yield text
            if kind in ("sh", "console"):
                for line in lines(HEREDOC.sub("", text), kind):
                    yield line
                    yield line.removeprefix("cortensim ")


def test_is_everything_that_is_not_run_still_on_a_page() -> None:
    told = list(starts())
    assert [
        start for start in (*NOT_RUN, *ONLY_READ) if not any(text.startswith(start) for text in told)
    ] == []


@pytest.mark.parametrize(("page", "test"), ELSEWHERE.items())
def test_does_the_test_of_a_page_speak_of_it(page: str, test: str) -> None:
    assert [name for name in pages() if Path(name).match(page)]
    assert page.removeprefix("docs/").rstrip("/*") in (ROOT / test).read_text(encoding="utf-8")


def test_is_the_recipe_for_slurm_that_of_the_script() -> None:
    [text] = [text for _, text in blocks("docs/cluster.md") if text.startswith("cluster = SLURMCluster(")]
    script = (ROOT / "tests/slurm/slurm_cluster.py").read_text(encoding="utf-8")
    for name in re.findall(r"^ +(\w+)=", text, re.M):
        assert re.search(rf"^ +{name}=", script, re.M), name
