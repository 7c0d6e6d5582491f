"""Python's search for cyclic garbage, put off while a run goes on."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """No collection of cyclic garbage until the end, if there was any before.

    A run makes hundreds of thousands of objects that live as long as it does, and hardly any cycles before it
    is over; looking for them again and again would take a fifth of its time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
