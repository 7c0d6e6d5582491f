"""Draw docs/figures/hardware-*.png: measured beside simulated, from a `validation.csv`.

cortensim validate --dataset coherence locks dram page-allocator --out OUT
python docs/figures/hardware.py OUT/validation.csv docs/figures
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.analysis.style import INK, dress, log_threads_axis, log_throughput_axis

MEASURED, SIMULATED = "#D55E00", "#0072B2"
WIDE_RANGE = ("n-cores-store-one-line", "one-writer-n-readers", "rwsem-mixed", "bulk-order-9-get")
BANDWIDTH = re.compile(r"loaded-latency-([\d.]+)GBps")


def panel(ax: Axes, rows: pd.DataFrame, title: str, x: Callable[[pd.DataFrame], pd.Series]) -> None:
    """One workload: dots are measured (filled: the use is calibrate), the line is simulated."""
    rows = rows.assign(x=x(rows)).sort_values("x")
    fitted = rows[rows["use"] == "calibrate"]
    ax.plot(rows["x"], rows["simulated"], color=SIMULATED, label="simulated")
    ax.plot(rows["x"], rows["value"], "o", color=MEASURED, mfc="white", label="measured")
    ax.plot(fitted["x"], fitted["value"], "o", color=MEASURED, label="measured, open to fitting")
    dress(ax, title)
    ax.set_ylabel(f"{rows['metric'].iloc[0]} ({rows['unit'].iloc[0]})", color=INK)


def threads(rows: pd.DataFrame) -> pd.Series:
    return rows["tasks"]


def bandwidth(rows: pd.DataFrame) -> pd.Series:
    return rows["workload"].str.extract(BANDWIDTH, expand=False).astype(float)


def figure(data: pd.DataFrame, panels: Sequence[tuple[str, str, str]], columns: int) -> Figure:
    """*panels* are (system, workload, title); axes start at zero except for a wide range of values."""
    rows_of_panels = -(-len(panels) // columns)
    drawing = Figure(figsize=(max(3.7 * columns, 5.5), 2.9 * rows_of_panels + 0.5), layout="constrained")
    axes = drawing.subplots(rows_of_panels, columns, squeeze=False).flat
    for ax, (system, workload, title) in zip(axes, panels, strict=True):
        rows = data[(data["system"] == system) & data["workload"].str.match(f"{workload}$")]
        over_bandwidth = workload.startswith("loaded")
        panel(ax, rows, title, bandwidth if over_bandwidth else threads)
        if over_bandwidth:
            ax.set_xlabel("read bandwidth of both sockets (GB/s)", color=INK)
        else:
            ax.set_xlabel("threads", color=INK)
            if rows["tasks"].max() > 4:
                log_threads_axis(ax, sorted(rows["tasks"].unique()))
            else:
                ax.set_xticks(sorted(rows["tasks"].unique()))
        if workload in WIDE_RANGE:
            ax.set_yscale("log")
            log_throughput_axis(ax)
        else:
            ax.set_ylim(0, 1.08 * rows[["value", "simulated"]].max().max())
    handles, labels = next(iter(drawing.axes)).get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return drawing


FIGURES = {
    "hardware-lines": (
        [
            ("hardware", "n-cores-store-one-line", "all but one write at once"),
            ("hardware", "one-writer-n-readers", "all but one read at once"),
        ],
        2,
    ),
    "hardware-counters": (
        [
            ("hardware", "atomic-add", "atomic add"),
            ("hardware", "cas-add", "compare-and-swap loop"),
            ("lock", "ticket-lock-increment", "ticket lock"),
            ("lock", "ttas-pause-lock-increment", "TTAS lock with pause"),
        ],
        2,
    ),
    "hardware-locks": (
        [
            ("lock", "qspinlock-lock2", "qspinlock: lock2"),
            ("lock", "rwsem-writer", "rwsem: writers"),
            ("lock", "rwsem-reader", "rwsem: readers"),
            ("lock", "rwsem-mixed", "rwsem: half and half"),
        ],
        2,
    ),
    "hardware-dram": ([("hardware", "loaded-latency-.*", "DRAM under load")], 1),
    "hardware-pages": (
        [
            ("linux-buddy", "bulk-order-0-get", "Linux, 4 KiB, take"),
            ("linux-buddy", "bulk-order-0-put", "Linux, 4 KiB, give back"),
            ("llfree", "bulk-order-0-get", "LLFree, 4 KiB, take"),
            ("llfree", "bulk-order-0-put", "LLFree, 4 KiB, give back"),
            ("linux-buddy", "bulk-order-9-get", "Linux, 2 MiB, take"),
            ("linux-buddy", "bulk-order-9-put", "Linux, 2 MiB, give back"),
        ],
        2,
    ),
}


def main(table: Path, folder: Path) -> None:
    data = pd.read_csv(table)
    for name, (panels, columns) in FIGURES.items():
        figure(data, panels, columns).savefig(folder / f"{name}.png", dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
