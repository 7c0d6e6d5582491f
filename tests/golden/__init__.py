"""Golden fingerprints: what the model gives at a few hundred small points, committed line by line.

A change that is meant to leave results alone leaves `fingerprints.csv` alone. One that is meant to change
them changes lines of it, each with its reason, and a reviewer sees which points moved and how far:

    fingerprints.csv   the points, what each gave when its line was last changed, and why that was
    fingerprints.py    reading, measuring, comparing
    update.py          `python -m tests.golden.update --reason "..."` writes the lines that changed

The points are there to notice a change, not to be right: other tests hold the model against theory and
measurements.
"""
