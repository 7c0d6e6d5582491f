"""The checks have the run to themselves."""

from __future__ import annotations

import kernels
import pytest
from checked import Silent


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Watch`, which is told of it as well, says nothing."""
    monkeypatch.setattr(kernels.Process, "watch_kind", Silent)
