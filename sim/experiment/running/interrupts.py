"""Ctrl-C, the patient way: the first lets running points finish, the second stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Stop = Callable[[], bool]
"""Whether no further point should be started."""


def never() -> bool:
    """Nobody asks to stop."""
    return False


@contextmanager
def patient(notice: Callable[[], None]) -> Iterator[Stop]:
    """Within the block the first Ctrl-C calls *notice* and turns the yielded function true.

    The second is an ordinary `KeyboardInterrupt`. Outside the main thread, where signals never arrive,
    nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield never
        return
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        notice()

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def hidden_from_children() -> Iterator[None]:
    """Processes that this thread starts within the block never see a Ctrl-C, not even while they start."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
