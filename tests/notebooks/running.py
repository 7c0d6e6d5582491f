"""Execute a notebook in this interpreter, from an empty folder, and keep what is the same every time.

Kept are sources, the numbers of cells, texts, tables and pictures. Left out is what a machine or a moment adds: times
of execution, the version of Python, the size that a figure has as an object.
"""

from __future__ import annotations

import json
import os
import re
import sys
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
MOST_BYTES = 400_000
"""Of a notebook with its outputs: what a browser shows without waiting."""
SECONDS = 600
"""Of one cell, before it is taken for one that never ends."""
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_PNG, _SVG = "image/png", "image/svg+xml"
_TABLE_STYLE = re.compile(r"\n *<style scoped>.*?</style>", re.DOTALL)


def notebooks() -> list[Path]:
    """All that there are."""
    return sorted(FOLDER.glob("*.ipynb"))


def read(path: Path) -> NotebookNode:
    """The notebook at *path*, checked against the format."""
    notebook: NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    return notebook


def executed(notebook: NotebookNode) -> NotebookNode:
    """*notebook* run from top to bottom, with outputs as they are committed.

    Raises `nbclient.exceptions.CellExecutionError` for a cell that fails.
    """
    fresh: NotebookNode = nbformat.from_dict(json.loads(json.dumps(notebook)))  # type: ignore[no-untyped-call]
    with TemporaryDirectory() as folder, _this_interpreter(Path(folder) / "jupyter"):
        work = Path(folder) / "work"
        work.mkdir()
        resources = {"metadata": {"path": str(work)}}
        NotebookClient(fresh, timeout=SECONDS, kernel_name="python3", resources=resources).execute()
    return normalised(fresh)


def normalised(notebook: NotebookNode) -> NotebookNode:
    """*notebook* without what differs from run to run or from machine to machine."""
    notebook.metadata = nbformat.from_dict(_METADATA)  # type: ignore[no-untyped-call]
    number = 0
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type != "code":
            continue
        number += 1
        cell.execution_count = number
        cell.outputs = list(_merged(cell.outputs))
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number
    return notebook


def text(notebook: NotebookNode) -> str:
    """What is written into the file."""
    return str(nbformat.writes(notebook)) + "\n"  # type: ignore[no-untyped-call]


def told(notebook: NotebookNode) -> list[tuple[str, list[Any]]]:
    """Of each cell with code its source, and what it shows: texts to the letter, of pictures in pixels only
    that they are there.
    """
    return [
        (cell.source, [_without_pixels(output) for output in cell.outputs])
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def _merged(outputs: list[NotebookNode]) -> Iterator[NotebookNode]:
    """*outputs* with the pieces of a stream in one, as they arrive in pieces of any length."""
    streams: dict[str, NotebookNode] = {}
    for output in outputs:
        if output.output_type == "stream":
            if output.name in streams:
                streams[output.name].text += output.text
                continue
            streams[output.name] = output
        elif "data" in output:
            output.metadata = {}
            if _PNG in output.data:
                output.data[_PNG] = _smaller(output.data[_PNG])
            if _PNG in output.data or _SVG in output.data:
                output.data.pop("text/plain", None)
            if "text/html" in output.data:
                output.data["text/html"] = _TABLE_STYLE.sub("", output.data["text/html"])
        yield output


def _smaller(png: str) -> str:
    """*png* (base64) in 256 colours: a third of the bytes, and no difference that a reader sees."""
    packed = BytesIO()
    with Image.open(BytesIO(b64decode(png))) as picture:
        picture.convert("RGB").quantize(256).save(packed, "PNG", optimize=True)
    return b64encode(packed.getvalue()).decode()


def _without_pixels(output: NotebookNode) -> Any:
    shown = json.loads(json.dumps(output))
    if _PNG in shown.get("data", {}):
        shown["data"][_PNG] = "a picture"
    return shown


@contextmanager
def _this_interpreter(folder: Path) -> Iterator[None]:
    """A kernel `python3` that is this very interpreter, with this checkout's package and its commands."""
    kernel = folder / "kernels" / "python3"
    kernel.mkdir(parents=True)
    environment = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "IPYTHONDIR": str(folder / "ipython"),  # nobody's own settings
        "COLUMNS": "100",
    }
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "this interpreter",
        "language": "python",
        "env": environment,
    }
    (kernel / "kernel.json").write_text(json.dumps(spec))
    before = os.environ.get("JUPYTER_PATH")
    os.environ["JUPYTER_PATH"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["JUPYTER_PATH"]
        else:
            os.environ["JUPYTER_PATH"] = before
