"""Where the type checker takes an attribute for None for too long: what a compiled model would trip over.

    if self.owner is None:
        yield from line.read(cpu)      # somebody may become the owner meanwhile
        if self.owner is None:         # mypy: still None. mypyc reads it as None, and raises TypeError

mypy forgets what it knows of an attribute only when the attribute is assigned to, not when others run. The
interpreter does not mind; compiled code does. `python -m tools.narrowings PATH...` lists such places and
exits with 1 if there are any. The way out is to ask something else: a property, or a local variable.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from mypy import build
from mypy.find_sources import create_source_list
from mypy.nodes import MemberExpr
from mypy.options import Options
from mypy.types import NoneType, get_proper_type


def narrowings(paths: Sequence[str]) -> Iterator[str]:
    """Each place in *paths*, as `file:line: name`; another file with the name on that line is named, too."""
    options = Options()
    options.export_types = True
    options.preserve_asts = True
    options.incremental = False
    options.ignore_missing_imports = True
    options.follow_imports = "skip"
    options.cache_dir = "/dev/null"
    sources = create_source_list(list(paths), options)
    lines = {source.path: Path(source.path or "").read_text().splitlines() for source in sources}
    for expression, kind in build.build(sources, options).types.items():
        if isinstance(expression, MemberExpr) and isinstance(get_proper_type(kind), NoneType):
            for path, text in lines.items():
                if f".{expression.name}" in "".join(text[expression.line - 1 : expression.line]):
                    yield f"{path}:{expression.line}: {expression.name}"


if __name__ == "__main__":
    places = list(narrowings(sys.argv[1:]))
    print("\n".join(places))
    sys.exit(bool(places))
