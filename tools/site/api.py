"""Pages of the Python API: which modules they show, for whom. What they say is in their docstrings."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from source import Page

FOLDER = "reference/python"

CHAPTERS: dict[str, tuple[str, ...]] = {
    "For notebooks and scripts": (
        "sim",
        "sim.plot",
        "sim.analysis",
        "sim.experiment",
        "sim.quantities",
        "sim.errors",
    ),
    "Your own lock or listener": (
        "sim.engine",
        "sim.engine.probe",
        "sim.hardware.cpu",
        "sim.hardware.line",
        "sim.sync",
        "sim.sync.lock",
        "sim.sync.protocols",
        "sim.sync.spin",
    ),
    "Your own design, or a part of one": (
        "sim.designs",
        "sim.designs.base",
        "sim.designs.linux.vma_locks.base",
        "sim.designs.linux.vma_indexes.base",
        "sim.designs.cortenmm.protocols.base",
        "sim.mm.address_space",
        "sim.mm.operations",
        "sim.mm.performer",
        "sim.mm.page_table",
        "sim.mm.flush.base",
        "sim.mm.allocators.base",
    ),
}
"""Chapter -> its modules. A package shows what its `__all__` names, less what modules of this list define."""


def api_pages() -> Iterator[Page]:
    """A page a module, and one that lists them."""
    text = (
        "Python API\n==========\n\n``import cortensim`` is ``import sim``. "
        "What is not here may change without a word.\n\n"
    )
    for chapter, modules in CHAPTERS.items():
        text += f"{chapter}\n{'-' * len(chapter)}\n\n.. toctree::\n   :maxdepth: 1\n\n"
        text += "".join(f"   {module}\n" for module in modules) + "\n"
        for module in modules:
            yield Page(f"{FOLDER}/{module}.rst", _page(module))
    yield Page(f"{FOLDER}/index.rst", text)


def _page(name: str) -> str:
    text = f"{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n   :members:\n   :show-inheritance:\n"
    elsewhere = _told_elsewhere(name)
    if elsewhere:
        text += f"   :exclude-members: {', '.join(elsewhere)}\n\nIt also has, on pages of their own: "
        text += (
            ", ".join(f":py:obj:`{member} <{home}.{member}>`" for member, home in elsewhere.items()) + ".\n"
        )
    return text


def _told_elsewhere(name: str) -> dict[str, str]:
    """Names of a package's API -> the module that defines them, where that has a page."""
    module = import_module(name)
    pages = {module for modules in CHAPTERS.values() for module in modules} - {name}
    homes = {
        member: getattr(getattr(module, member), "__module__", None)
        for member in getattr(module, "__all__", ())
    }
    return {member: home for member, home in homes.items() if home in pages}
