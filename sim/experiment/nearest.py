"""The word that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The closest of *words* to a misspelt one; None if none is close."""
    return next(iter(get_close_matches(word, list(words), n=1, cutoff=0.6)), None)
