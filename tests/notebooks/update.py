"""Execute the notebooks again and write those whose outputs changed.

    python -m tests.notebooks.update                    all of them: about three minutes
    python -m tests.notebooks.update tour own-design    some, by a part of their names

Run it at the root of the checkout after a change of a notebook, or of what it prints. Then read what changed (`git diff`):
sentences of a notebook that name a number do not follow by themselves.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from nbclient.exceptions import CellExecutionError

from .running import MOST_BYTES, executed, notebooks, read, text


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 a notebook failed or grew too large, 2 no such notebook."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.notebooks.update", description="Renew the outputs of notebooks."
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="a part of a notebook's name (default: all)")
    wanted = parser.parse_args(arguments).names
    chosen = [path for path in notebooks() if not wanted or any(name in path.stem for name in wanted)]
    if not chosen:
        print(f"no such notebook: {', '.join(path.stem for path in notebooks())}", file=sys.stderr)
        return 2
    failed = False
    for path in chosen:
        try:
            new = text(executed(read(path)))
        except CellExecutionError as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            failed = True
            continue
        size = f"{len(new.encode()) / 1000:.0f} kB"
        if len(new.encode()) > MOST_BYTES:
            print(f"{path.name}: {size}, more than {MOST_BYTES / 1000:.0f} kB: not written", file=sys.stderr)
            failed = True
        elif new == path.read_text(encoding="utf-8"):
            print(f"{path.name}: as it was, {size}")
        else:
            path.write_text(new, encoding="utf-8")
            print(f"{path.name}: written, {size}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
