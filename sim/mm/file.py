"""A file as workloads see it: a name and a size. Each kernel that has files keeps more of them."""

from __future__ import annotations


class File:
    """*pages* long. Compared by identity: each was created once."""

    __slots__ = ("name", "pages")

    def __init__(self, name: str, pages: int) -> None:
        self.name = name
        self.pages = pages

    def __repr__(self) -> str:
        return f"file {self.name}"

    def span(self, pages: int) -> int:
        """How many pages a mapping of so many takes, where only whole ones can be had."""
        return pages
