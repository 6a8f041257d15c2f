"""Functions of a page: what a notebook defines for itself, for tests that need no run of the whole page."""

from __future__ import annotations

import ast
import contextlib
from pathlib import Path
from types import SimpleNamespace

SCRIPTS = Path(__file__).parents[1] / "notebooks"
DEFINES = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign)


def functions_of(page: str) -> SimpleNamespace:
    """Load the imports, functions, classes and plain constants of ``notebooks/<page>.py``; no other code of it runs.

    A constant that is computed from records or parameters is left out.
    """
    names: dict = {"__name__": f"notebooks.{page}"}
    tree = ast.parse((SCRIPTS / f"{page}.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if not isinstance(node, DEFINES):
            continue
        if isinstance(node, ast.Assign) and not all(isinstance(t, ast.Name) and t.id.isupper() for t in node.targets):
            continue
        with contextlib.suppress(NameError):
            exec(compile(ast.Module([node], []), page, "exec", dont_inherit=True), names)
    return SimpleNamespace(**names)
