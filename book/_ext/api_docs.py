"""API pages from retlib's docstrings.

*Names.* Every public name is described once, under the name that people import: ``FundusSample`` is defined in
``retlib.data.sample`` and exported by ``retlib.data``, so it is ``retlib.data.FundusSample`` in the book. A reference
to the defining module, or the bare name in a type hint, is followed to that description. A name of ours that does not
exist or is not described stays an error.

*Text.* Types stand in the signatures. So the text of ``Returns:`` and of an attribute is prose, in which a colon does
not set off a type and ``|P|`` is the size of a set.

*Settings.* The fields of a pydantic model become a list with types, defaults and the comments beside them.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from sphinx.ext.napoleon import docstring as napoleon

PACKAGE = "retlib"


# --- names -------------------------------------------------------------------------------------------------------


def import_object(name: str) -> Any:
    """The object that a dotted name stands for, or None."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for part in parts[cut:]:
            value = getattr(value, part, None)
        return value
    return None


def origin(name: str) -> str | None:
    """``module.qualname`` of the definition behind a dotted name, or None for what is neither class nor function."""
    value = import_object(name)
    module, qualname = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    return f"{module}.{qualname}" if module and qualname else None


def skip_exported(app, what, name, value, skip, options):
    """Leave out of a module what its package exports, because it is described there."""
    module = app.env.temp_data.get("autodoc:module", "")
    parent = module.rpartition(".")[0]
    if what == "module" and parent.startswith(PACKAGE):
        package = importlib.import_module(parent)
        if name in getattr(package, "__all__", ()) and getattr(package, name, None) is value:
            return True
    return None


def resolve(app, env, node, contnode):
    """Handle ``missing-reference`` for the Python domain."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target:
        return None
    domain = env.get_domain("py")
    described = {name for name in domain.objects if name.split(".")[0] == PACKAGE}
    if getattr(env, "retlib_origins", {}).keys() != described or not described:
        env.retlib_origins = {name: origin(name) for name in sorted(described)}
    if target.startswith(f"{PACKAGE}."):
        definition = origin(target)
        names = [name for name, found in env.retlib_origins.items() if found and found == definition]
    else:
        names = sorted((name for name in described if name.endswith(f".{target}")), key=len)
    if not names:
        # An alias such as ``Profile = Literal[...]`` and a private name exist without a description: plain text.
        context = node.get("py:module") or PACKAGE
        value = import_object(target if target.startswith(f"{PACKAGE}.") else f"{context}.{target}")
        is_alias = not isinstance(value, type | ModuleType) and not inspect.isroutine(value)
        is_private = target.rpartition(".")[2].startswith("_")
        return contnode if value is not None and (is_alias or is_private) else None
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", names[0], node, contnode)


# --- text --------------------------------------------------------------------------------------------------------


class PlainGoogleDocstring(napoleon.GoogleDocstring):
    """Google style with types in the annotations alone."""

    def _consume_returns_section(self, preprocess_types=False):
        return [("", "", self._dedent(self._consume_to_next_section()))]

    def _parse_attributes_section(self, section):
        lines = [":Attributes:"]
        for name, _, (first, *rest) in self._consume_fields():
            lines += [f"    * **{name}** – {first}", *self._indent(rest, 6)]
        return [*lines, ""]

    def _consume_inline_attribute(self):
        return "", self._dedent(self._consume_to_end())


def keep_bars(app, what, name, value, options, lines):
    """Escape ``|`` outside literals: docutils would take ``|P|`` for a substitution."""
    for number, line in enumerate(lines):
        parts = line.split("``")
        parts[::2] = [part.replace("|", "\\|") for part in parts[::2]]
        lines[number] = "``".join(parts)


# --- settings ----------------------------------------------------------------------------------------------------


def is_settings(value: Any) -> bool:
    """Whether an object is a pydantic model of ours."""
    return inspect.isclass(value) and hasattr(value, "model_fields") and value.__module__.startswith(PACKAGE)


BOUNDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}", "min_length": "{} entry or more"}


def describe_default(value: ast.expr | None) -> str:
    """Default and bounds of a field, from what stands behind its ``=``."""
    if value is None:
        return "required"
    if not (isinstance(value, ast.Call) and ast.unparse(value.func) == "Field"):
        return f"default ``{ast.unparse(value)}``"
    default = f"default ``{ast.unparse(value.args[0])}``" if value.args else "required"
    bounds = [BOUNDS[k.arg].format(ast.unparse(k.value)) for k in value.keywords if k.arg in BOUNDS]
    return ", ".join([default, *bounds])


def fields(model: type) -> Iterator[tuple[str, str, str, str]]:
    """Name, type, default and trailing comment of each field that the class itself declares."""
    source = textwrap.dedent(inspect.getsource(model))
    lines = source.splitlines()
    for node in ast.parse(source).body[0].body:
        if isinstance(node, ast.AnnAssign) and node.target.id in model.model_fields:
            comment = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode()
            kind = f"``{ast.unparse(node.annotation)}``"
            yield node.target.id, kind, describe_default(node.value), comment.strip().lstrip("#").strip()


def list_fields(app, what, name, value, options, lines):
    """Append a model's fields to its text, unless the text lists them itself."""
    if what == "class" and is_settings(value) and value.model_fields and "Attributes:" not in lines:
        lines += ["", "Attributes:"]
        for field, kind, default, comment in fields(value):
            lines.append(f"    {field}: {kind}, {default}" + (f"; {comment}" if comment else ""))


def hide_signature(app, what, name, value, options, signature, returns):
    """A model's fields are listed below, so its generated signature says nothing new."""
    return ("", None) if what == "class" and is_settings(value) else None


def import_everything() -> None:
    """Import every module of the library before any is documented.

    autodoc adds annotations that it reads from comments and sources to the classes it documents, base classes
    included. A pydantic model that is defined after that inherits names which do not exist where it stands.
    """
    package = importlib.import_module(PACKAGE)
    for module in pkgutil.walk_packages(package.__path__, f"{PACKAGE}."):
        importlib.import_module(module.name)


def setup(app):
    """Connect the handlers; those that prepare text run before napoleon, which has priority 500."""
    import_everything()
    napoleon.GoogleDocstring = PlainGoogleDocstring
    app.setup_extension("sphinx.ext.napoleon")
    importlib.import_module("sphinx.ext.napoleon").GoogleDocstring = PlainGoogleDocstring
    app.connect("autodoc-skip-member", skip_exported)
    app.connect("autodoc-process-docstring", keep_bars, priority=400)
    app.connect("autodoc-process-docstring", list_fields, priority=410)
    app.connect("autodoc-process-signature", hide_signature)
    app.connect("missing-reference", resolve)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
