"""A process that simulates points of one checkout when told to: `python -P worker.py` with its PYTHONPATH.

Reads one request a line from stdin and answers each with one line, both JSON. It runs in older checkouts as
well, so it asks for nothing but `load` and `run_point`.

    {"changes": {...}, "experiment": "paper-micro", "times": 1}
    -> {"seconds": [...], "operations": n, "events": n, "peak": bytes, "before": bytes}
"""

import gc
import json
import sys
import time

from sim.experiment import load

try:
    from sim.experiment import run_point
except ImportError:  # until 0.2 (commit d49da04)
    from sim.experiment.executor import run_point


def peak() -> int:
    """The largest resident set of this program so far (bytes); getrusage's may be that of the parent."""
    with open("/proc/self/status", encoding="ascii") as status:
        (line,) = (line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def answer(request):
    (point,) = load(request["experiment"], request["changes"]).points
    before, seconds = peak(), []
    for _ in range(request["times"]):
        gc.collect()
        start = time.process_time()
        row = run_point(point).row
        seconds.append(time.process_time() - start)
        if row.status != "ok":
            raise SystemExit(f"{request}: {row.status}: {row.error}")
    return {
        "seconds": seconds,
        "operations": row.operations,
        "events": row.events,
        "before": before,
        "peak": peak(),
    }


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
