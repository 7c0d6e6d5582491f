"""Is the wheel all that a machine without the checkout needs?"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CITED = re.compile(r"docs/[a-z-]+\.(?:md|yaml)")


def build(target: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    [made] = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked as an installer does, in a folder of its own."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(build("wheel", tmp_path_factory.mktemp("wheel"))) as wheel:
        wheel.extractall(folder)
    return folder


def python(installed: Path, *arguments: str, folder: Path) -> str:
    """Run with *installed* and the dependencies of these tests, but without the checkout."""
    paths = [str(installed), sysconfig.get_path("purelib")]
    code = f"import sys; sys.path[:0] = {paths!r}; from sim.cli import main; sys.exit(main())"
    command = [sys.executable, "-I", "-S", "-c", code, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@pytest.mark.parametrize("arguments", [["list", "machines"], ["show", "linux-6.13"], ["show", "quickstart"]])
@pytest.mark.ci
def test_does_a_command_answer_as_in_the_checkout(
    installed: Path, tmp_path: Path, arguments: list[str]
) -> None:
    here = subprocess.run(
        [sys.executable, "-m", "sim", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    packed = python(installed, *arguments, folder=tmp_path)
    assert re.sub(r"\s+", " ", packed.replace(f"{installed}/sim/presets/", "")) == re.sub(
        r"\s+", " ", here.stdout
    )


@pytest.mark.ci
def test_does_the_quickstart_run(installed: Path, tmp_path: Path) -> None:
    python(installed, "run", "quickstart", "--quiet", "--threads", "1", "--no-plots", folder=tmp_path)
    assert (tmp_path / "results/quickstart/points.csv").is_file()


def test_is_every_page_that_is_cited_there(installed: Path) -> None:
    presets = installed / "sim/presets"
    texts = [*installed.rglob("*.py"), *presets.rglob("*.yaml"), *presets.rglob("*.csv")]
    cited = {name for path in texts for name in CITED.findall(path.read_text(encoding="utf-8"))}
    assert len(cited) > 3
    assert [name for name in sorted(cited) if not (presets / name).is_file()] == []


def test_does_it_say_what_it_is(installed: Path) -> None:
    [metadata] = installed.glob("*.dist-info/METADATA")
    text = metadata.read_text(encoding="utf-8")
    assert "\nLicense-Expression: MIT\n" in text
    assert "\nLicense-File: LICENSE\n" in text
    assert list(installed.glob("*.dist-info/licenses/LICENSE"))
    assert (installed / "sim/py.typed").is_file()
    assert (installed / "cortensim/py.typed").is_file()


def test_is_the_source_distribution_complete(tmp_path: Path) -> None:
    """All that git knows, less what is of no use outside of the repository."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    known = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    with tarfile.open(build("sdist", tmp_path)) as archive:
        there = {name.partition("/")[2] for name in archive.getnames()}
    missing = sorted(set(known.splitlines()) - there)
    assert missing == [], missing
