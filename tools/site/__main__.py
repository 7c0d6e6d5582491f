"""Build the documentation site: `.ci/site` calls this; build/site/html/index.html is the result.

The pages are the Markdown files of the repository, as they are, and what is made of the program itself: its
commands, the keys of its files, its presets and its Python API. Any warning is a failure, and so is a page
that would load something from elsewhere.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from api import api_pages
from commands import command_pages
from outside import loaded_from_outside
from presets import preset_pages
from schemas import schema_pages
from source import ROOT, Source
from sphinx.cmd.build import main as sphinx

WIDTH_OF_USAGE = "92"


def main() -> int:
    """Lay out the source, build, and look for what would be loaded from elsewhere. Returns the exit code."""
    parser = argparse.ArgumentParser(prog=".ci/site", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build/site", help="folder (default: build/site)")
    parser.add_argument("--clean", action="store_true", help="build all pages anew")
    options = parser.parse_args()
    if options.clean:
        shutil.rmtree(options.out, ignore_errors=True)
    os.environ["COLUMNS"] = WIDTH_OF_USAGE  # argparse folds at this width
    source, html = options.out / "source", options.out / "html"
    Source(source).lay([*command_pages(), *schema_pages(), *preset_pages(), *api_pages()])
    code = sphinx(
        [
            "--fail-on-warning", "--nitpicky", "--quiet",
            "-c", str(ROOT / "docs/site"), "-d", str(options.out / "doctrees"), str(source), str(html),
        ]
    )  # fmt: skip
    strangers = loaded_from_outside(html)
    for page, address in strangers:
        print(f"{page} loads {address}: a page must do without the network", file=sys.stderr)
    if code == 0 and not strangers:
        print(f"{sum(1 for _ in html.rglob('*.html'))} pages: {html / 'index.html'}")
    return code or bool(strangers)


if __name__ == "__main__":
    sys.exit(main())
