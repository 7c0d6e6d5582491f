"""A table that keeps what counts most: so many keys at most, whatever a run touches.

When it is full the half with the least weight is forgotten, and *forgotten* says how often that was. A key
that comes back starts anew, so what it says is the least that it can have been. Whatever is heavy throughout
stays (lossy counting: Manku and Motwani, VLDB 2002).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Hottest(Generic[Key, Value]):
    """Values by key, made when they are first asked for; *weight* says how much a value counts."""

    def __init__(self, make: Callable[[], Value], weight: Callable[[Value], int], most: int) -> None:
        self.values: dict[Key, Value] = {}
        self.forgotten = 0
        self._make = make
        self._weight = weight
        self._most = most

    def __getitem__(self, key: Key) -> Value:
        value = self.values.get(key)
        if value is None:
            if len(self.values) >= self._most:
                self._forget()
            value = self.values[key] = self._make()
        return value

    def _forget(self) -> None:
        self.forgotten += 1
        ranked = sorted(self.values.items(), key=lambda item: -self._weight(item[1]))
        self.values = dict(ranked[: self._most // 2])
