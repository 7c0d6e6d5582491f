"""Does the page count the values that are fitted, and the rows that they may be fitted to?"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from sim.analysis.published import default_files, read_published

ROOT = Path(__file__).parent.parent.parent
FOLDERS = ("configs", "workloads", "results/published")
FILES = [file for folder in FOLDERS for file in (ROOT / folder).glob("**/*.yaml")]


def test_are_the_counts_of_the_page_right() -> None:
    fitted = sum(file.read_text(encoding="utf-8").count("quality: fitted") for file in FILES)
    rows = Counter(row.use for row in read_published(default_files()))
    text = (ROOT / "docs/model.md").read_text(encoding="utf-8").partition("## 13.")[2]
    [said] = re.findall(r"(\d+) are fitted.*?there are (\d+),.*?The (\d+) rows", text, re.DOTALL)
    assert [int(number) for number in said] == [fitted, rows["calibrate"], rows["check"]]
