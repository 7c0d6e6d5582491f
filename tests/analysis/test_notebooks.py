"""Are the notebooks committed as they run: complete, small, with links that lead somewhere, and not stale?"""

from __future__ import annotations

import re
from base64 import b64encode
from io import BytesIO
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from tests.notebooks.running import FOLDER, MOST_BYTES, executed, normalised, notebooks, read, told

_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
_OF_A_MACHINE = ("/home/", "/work/", "/tmp/", "Warning", "\x1b[")


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_is_a_notebook_kept_with_all_its_outputs(path: Path) -> None:
    notebook = read(path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    shown = [output for cell in code for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in shown)
    assert all(output.output_type != "error" for output in shown)
    assert path.stat().st_size <= MOST_BYTES


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_do_outputs_say_nothing_of_the_machine_that_made_them(path: Path) -> None:
    for cell, shown in told(read(path)):
        assert not [word for word in _OF_A_MACHINE if word in str(shown)], cell


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_has_a_notebook_one_title_and_links_to_what_there_is(path: Path) -> None:
    texts = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
    assert sum(line.startswith("# ") for text in texts for line in text.splitlines()) == 1
    assert texts[0].startswith("# ")
    assert texts[-1].startswith("## Next")
    links = [link for text in texts for link in _LINK.findall(text) if "://" not in link]
    assert links
    assert not [link for link in links if not (FOLDER / link).exists()]


def test_is_what_differs_from_run_to_run_left_out() -> None:
    pieces = [new_output("stream", name="stdout", text=text) for text in ("one ", "two")]  # type: ignore[no-untyped-call]
    png = BytesIO()
    Image.new("RGB", (2, 2), "red").save(png, "PNG")
    data = {"image/png": b64encode(png.getvalue()).decode()}
    figure = new_output("display_data", {**data, "text/plain": "<Figure size 640x480>"})  # type: ignore[no-untyped-call]
    cell = new_code_cell("x", outputs=[*pieces, figure], metadata={"execution": {"iopub.status.busy": "now"}})  # type: ignore[no-untyped-call]
    kept = normalised(new_notebook(cells=[cell])).cells[0]  # type: ignore[no-untyped-call]
    assert (kept.metadata, kept.execution_count) == ({}, 1)
    assert [output.get("text") for output in kept.outputs] == ["one two", None]
    assert list(kept.outputs[1].data) == ["image/png"]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those of Jupyter's own machinery are not ours to mend
@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_does_a_notebook_print_again_what_is_committed(path: Path) -> None:
    committed = read(path)
    for (cell, before), (_, now) in zip(told(committed), told(executed(committed)), strict=True):
        assert now == before, f"{cell}\n\nrenew with: python -m tests.notebooks.update {path.stem}"
