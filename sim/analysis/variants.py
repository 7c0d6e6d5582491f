"""Swept values in tables: each has a column of its own, and stands in the name of what it changed.

Tables name swept values in what they change (`epyc-9965, cross_socket 150 ns`); `parted` takes them apart
again, so that in a figure a design keeps its colour and a machine its panel.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from sim.analysis.tables import swept_columns
from sim.analysis.wording import plain_number


def parted(frame: pd.DataFrame, axis: str = "") -> pd.DataFrame:
    """*frame* with machine, design and workload named as without a sweep, and the swept values in `variant`.

    The column *axis* is left out of the variant. Parted frames stay as they are.
    """
    if "variant" in frame and not axis:
        return frame
    varied = [column for column in swept_columns(frame) if frame[column].nunique() > 1]
    frame = frame.copy(deep=False)
    for kind in ("machine", "design", "workload") if varied else ():
        frame[kind] = frame[kind].astype(str).str.partition(", ")[0]
    names = short_names(varied)
    chosen = [column for column in varied if column != axis]
    frame["variant"] = ""
    if chosen:
        parts = [[f"{names[column]} {written(value)}" for value in frame[column]] for column in chosen]
        frame["variant"] = [", ".join(values) for values in zip(*parts, strict=True)]
    return frame


def short_names(columns: Sequence[str]) -> dict[str, str]:
    """The last part of each path, and as many before it as tell the columns apart."""
    names = {}
    for column in columns:
        parts = column.split(".")
        for length in range(1, len(parts) + 1):
            end = parts[-length:]
            if sum(other.split(".")[-length:] == end for other in columns) == 1:
                break
        names[column] = ".".join(end)
    return names


def written(value: object) -> str:
    """A swept value as YAML has it."""
    if isinstance(value, bool) or str(value) in ("True", "False"):
        return str(value).lower()
    return plain_number(value) if isinstance(value, float) else str(value).replace('"', "")
