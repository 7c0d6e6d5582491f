"""Where the type checker believes in an attribute for too long: what a compiled model would trip over.

    if self.owner is None:
        yield from line.read(cpu)      # somebody may become the owner meanwhile
        if self.owner is None:         # mypy: still None. mypyc reads it as None, and raises TypeError

mypy forgets what it knows of an attribute only when the attribute is assigned to, not when others run. The
interpreter does not mind; compiled code does. `python -m tools.narrowings PATH...` lists the places where an
attribute is read that is taken for None, and where one is compared with None that is taken for something, and
exits with 1 if there are any. The way out is to ask something else: a property, a method, a local variable.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from mypy import build
from mypy.find_sources import create_source_list
from mypy.nodes import ComparisonExpr, MemberExpr, NameExpr
from mypy.options import Options
from mypy.types import AnyType, Instance, NoneType, Type, TypeVarType, UnionType, get_proper_type


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
    types = build.build(sources, options).types
    found = [
        expression
        for expression, kind in types.items()
        if isinstance(expression, MemberExpr) and isinstance(get_proper_type(kind), NoneType)
    ]
    for compared in types:
        if isinstance(compared, ComparisonExpr) and compared.operators in (["is"], ["is not"]):
            asked, other = compared.operands
            with_none = isinstance(other, NameExpr) and other.name == "None"
            if with_none and isinstance(asked, MemberExpr) and not _may_be_none(types[asked]):
                found.append(asked)
    for expression in found:
        for path, text in lines.items():
            if f".{expression.name}" in "".join(text[expression.line - 1 : expression.line]):
                yield f"{path}:{expression.line}: {expression.name}"


def _may_be_none(kind: Type) -> bool:
    kind = get_proper_type(kind)
    if isinstance(kind, Instance):
        return kind.type.fullname == "builtins.object"
    return isinstance(kind, UnionType | NoneType | AnyType | TypeVarType)


if __name__ == "__main__":
    places = list(narrowings(sys.argv[1:]))
    print("\n".join(places))
    sys.exit(bool(places))
