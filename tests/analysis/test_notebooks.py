"""Does every notebook run from top to bottom, in this interpreter, and show its charts?"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture
def this_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel `python3` that is this very interpreter, with this checkout's package on its path."""
    kernel = tmp_path / "kernels" / "python3"
    kernel.mkdir(parents=True)
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "this interpreter",
        "language": "python",
        "env": {"PYTHONPATH": path},
    }
    (kernel / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_a_notebook_kept_without_outputs_that_would_grow_stale(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert not any(
        cell.outputs or cell.execution_count for cell in notebook.cells if cell.cell_type == "code"
    )


@pytest.mark.slow
@pytest.mark.usefixtures("this_interpreter")
@pytest.mark.filterwarnings("default")  # those of Jupyter's own machinery are not ours to mend
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_does_a_notebook_run_and_show_its_charts(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    drawn = [output for output in outputs if "image/png" in output.get("data", {})]
    charts = sum("sim.plot." in cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert len(drawn) == charts > 0
