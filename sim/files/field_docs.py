"""What the docstrings under the fields of a model say.

pydantic can read them itself (`use_attribute_docstrings`), but does so whenever a class is made, from its
source: a fifth of a second more for every command and every worker. Only the schema files want them.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise

from pydantic import BaseModel


def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """Field -> the string that stands under it in the class, or in the base that it is inherited from."""
    docs: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            docs |= _own(base)
    return docs


def _own(model: type[BaseModel]) -> dict[str, str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(model)))
    [body] = [node.body for node in tree.body if isinstance(node, ast.ClassDef)]
    docs = {}
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            match below:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    docs[field.target.id] = inspect.cleandoc(text)
    return docs
