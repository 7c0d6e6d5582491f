"""How Sphinx builds the documentation site. `.ci/site` lays out the pages and calls it."""

from __future__ import annotations

import collections.abc
import sys
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tools/site"))

from docstrings import as_rst
from pygments.lexers.special import TextLexer
from sphinx.addnodes import pending_xref, toctree

project = "cortensim"
author = "the cortensim authors"
project_copyright = author
version = release = installed("cortensim")

extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["configs/**", "workloads/**"]  # shown in pages, no pages themselves
nb_execution_mode = "off"  # notebooks are committed with what they print
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 6  # as code hosts give them
suppress_warnings = ["myst.header"]  # a page may begin with a smaller heading

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
toc_object_entries_show_parents = "hide"

# Types of other packages, and private ones, have no page here. Links in pages are not among these.
nitpick_ignore_regex = [("py:(class|obj|exc|data|func|meth|mod)", r".*")]

html_theme = "furo"
html_title = "cortensim"
html_static_path = ["style.css"]
html_css_files = ["style.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}

_NESTED = {"docs/cookbook/README": ("/docs/cookbook/*",)}
"""Page -> the pages below it in the contents, which its text only links to."""


def setup(app: Any) -> None:
    """Have docstrings and the contents of pages as the site needs them."""
    app.add_lexer("csv", TextLexer)
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("autodoc-process-bases", _bases)
    app.connect("autodoc-skip-member", _skip)
    app.connect("source-read", _nest)
    app.connect("doctree-read", _leave_abstract_types)
    app.connect("html-page-context", _of_titles, priority=400)  # before the theme asks


def _docstring(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    lines[:] = as_rst(lines)


def _bases(app: Any, name: str, thing: Any, options: Any, bases: list[type]) -> None:
    """That a class is an object is not news."""
    bases[:] = [base for base in bases if base is not object]


def _skip(app: Any, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """What pydantic gives every model is not news."""
    return True if name == "model_config" or name.startswith("model_post") else None


def _nest(app: Any, page: str, text: list[str]) -> None:
    if page in _NESTED:
        below = "\n".join(_NESTED[page])
        text[0] += f"\n```{{toctree}}\n:hidden:\n:glob:\n\n{below}\n```\n"


def _leave_abstract_types(app: Any, doctree: Any) -> None:
    """`Sequence` in a signature is Python's own, and not the class of this name that is nearest."""
    for reference in list(doctree.findall(pending_xref)):
        if reference.get("reftarget", "").rpartition(".")[2] in collections.abc.__all__:
            reference.replace_self(reference.children)


def _of_titles(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """The side bar names pages. Sphinx makes it of all their headings, which takes a third of the build, and
    then leaves those out: here they are left out before."""
    whole = context.get("toctree")
    if whole is None:
        return
    env = app.env
    if not hasattr(app, "titles"):
        app.titles = {name: _titles(toc) for name, toc in env.tocs.items()}

    def titles(**options: Any) -> Any:
        headings, env.tocs = env.tocs, app.titles
        try:
            return whole(**options)
        finally:
            env.tocs = headings

    context["toctree"] = titles


def _titles(toc: Any) -> Any:
    """The contents of a page without its headings, with the pages below it."""
    short = toc.deepcopy()
    for item in short.children:
        if len(item) > 1:
            item[1][:] = list(item[1].findall(toctree))
            if not item[1].children:
                item.pop(1)
    return short
