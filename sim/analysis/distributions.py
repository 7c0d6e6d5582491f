"""How long operations take, all of them: `latencies.csv` of a run with a profile.

The table has order statistics: of few latencies each one, of many those of some percentiles
(`sim.profile.requests.GRID`). So a percentile that is asked for is exact if it is one of these; of another
one only its neighbours are known, and the one above is given. An average over replicates is one of
percentiles, not the percentile of all latencies together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sim.analysis.scaling import PLACE
from sim.analysis.tables import averaged, labelled
from sim.analysis.variants import parted

PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9)
_SERIES = [*PLACE, "threads", "of", "name"]


def percentile_table(latencies: pd.DataFrame, percentiles: Sequence[float] = PERCENTILES) -> pd.DataFrame:
    """Some *percentiles* of each distribution; *latencies* is `latencies.csv`.

    Columns: those of `PLACE`, `threads`, `of`, `name`, `percentile`, `ns` with `low` and `high` (95 %, over
    replicates), `replicates`. A percentile is the least latency such that so many per cent are no longer; of
    a distribution that has fewer latencies than that can tell, as p99.9 of 100, it is the greatest.
    """
    rows = []
    for series, own in _distributions(latencies):
        ranks, values = own["percentile"].to_numpy(), own["latency_ns"].to_numpy()
        for percentile in percentiles:
            at = min(int(np.searchsorted(ranks, percentile - 1e-9)), len(ranks) - 1)
            rows.append((*series, percentile, values[at]))
    table = pd.DataFrame(rows, columns=[*_SERIES, "replicate", "percentile", "value"])
    if table.empty:
        return pd.DataFrame(columns=[*_SERIES, "percentile", "ns", "low", "high", "replicates"])
    return averaged(table, "value", [*_SERIES, "percentile"]).rename(columns={"mean": "ns"})


def cdf_table(latencies: pd.DataFrame) -> pd.DataFrame:
    """Each distribution as a cumulative one: a row a known latency.

    Columns: those of `PLACE`, `threads`, `of`, `name`, `replicate`, `count` of latencies, `ns`, `share` of
    them that are no longer than that, `longer` the share that is.
    """
    named = _named(latencies)
    table = named[[*_SERIES, "replicate", "count", "latency_ns", "percentile"]].rename(
        columns={"latency_ns": "ns"}
    )
    share = table.pop("percentile") / 100
    return table.assign(share=share, longer=1 - share).reset_index(drop=True)


def _distributions(latencies: pd.DataFrame) -> list[tuple[tuple[object, ...], pd.DataFrame]]:
    groups = _named(latencies).groupby([*_SERIES, "replicate"], sort=False)
    return [(series, own.sort_values("percentile")) for series, own in groups]


def _named(latencies: pd.DataFrame) -> pd.DataFrame:
    named = latencies if "variant" in latencies else parted(labelled(latencies))
    return named.assign(name=named["name"].fillna("").astype(str))
