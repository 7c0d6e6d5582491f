"""Draw docs/figures/hardware-*.png: run each experiment of that name and keep its best figure.

The figure beside measurements where there are any, else the curves.

PYTHONPATH=. python docs/figures/hardware.py docs/figures [EXPERIMENT ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

import sim
from sim.analysis.figures import measured_figure, scalability_figure
from sim.analysis.published import default_files, read_published
from sim.experiment import presets


def main(folder: Path, names: list[str]) -> None:
    published = read_published(default_files())
    for name in names or [name for name in presets.names("experiment") if name.startswith("hardware-")]:
        experiment = sim.load(name)
        points = sim.run(experiment, workers=2)
        title = experiment.spec.title
        figure = measured_figure(points, published, title) or scalability_figure(points, title)
        figure.savefig(folder / f"{name}.png", dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
