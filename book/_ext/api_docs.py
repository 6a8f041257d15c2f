"""API pages from retlib's docstrings.

*Names.* Every public name is described once, under the name that people import: ``FundusSample`` is defined in
``retlib.data.sample`` and exported by ``retlib.data``, so it is ``retlib.data.FundusSample`` in the book. A reference
to the defining module, or the bare name in a type hint, is followed to that description. A name of ours that does not
exist or is not described stays an error.

*Text.* Types stand in the signatures. So the text of ``Returns:`` and of an attribute is prose, in which a colon does
not set off a type and ``|P|`` is the size of a set.

*Signatures.* Types and defaults are printed as the source has them: ``ArrayLike`` and not the union behind it,
``METRICS`` and not the ten names in it.

*Fields.* The fields of a pydantic model become a list with types, defaults and the comments beside them; of a
dataclass and a named tuple, whose signature has the types, those fields that have a comment.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
import sys
import textwrap
import typing
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from docutils import nodes
from sphinx.ext.autodoc.preserve_defaults import DefaultValue
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


def skip_known(app, what, name, value, skip, options):
    """Leave out of a module what its package exports, which is described there, and of a class its listed fields."""
    module = app.env.temp_data.get("autodoc:module", "")
    parent = module.rpartition(".")[0]
    if what == "module" and parent.startswith(PACKAGE):
        package = importlib.import_module(parent)
        if name in getattr(package, "__all__", ()) and getattr(package, name, None) is value:
            return True
    if what == "class":
        owner = import_object(f"{module}.{app.env.temp_data.get('autodoc:class')}")
        return True if name == "model_config" or name in field_names(owner) else None
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
        context = node.get("py:module") or PACKAGE
        return contnode if is_plain(target, context) else None
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", names[0], node, contnode)


def is_plain(target: str, context: str) -> bool:
    """Whether a name that is not described stands for an alias, for a private name or for something of others.

    An alias is ``Profile = Literal[...]``. Such names are printed without a link.
    """
    if target.startswith(f"{PACKAGE}."):
        modules = [""]
    else:  # of the module that is being described, and of those that it takes its names from
        modules = sorted(f"{name}." for name in sys.modules if f"{name}.".startswith(f"{context}."))
    value = next((value for module in modules if (value := import_object(module + target)) is not None), None)
    is_alias = not isinstance(value, type | ModuleType) and not inspect.isroutine(value)
    is_private = target.rpartition(".")[2].startswith("_")
    is_foreign = not getattr(value, "__module__", PACKAGE).startswith(PACKAGE)
    return value is not None and (is_alias or is_private or is_foreign)


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


# --- signatures --------------------------------------------------------------------------------------------------


def keep_source(app, value, bound_method):
    """Let a signature show types and defaults as they stand in the source, not what they evaluate to."""
    value = getattr(value, "__func__", value)
    function = inspect.unwrap(value)
    if not (inspect.isfunction(function) and function.__module__.startswith(PACKAGE)):
        return
    names, signature = function.__globals__, inspect.signature(value)
    parameters = [
        parameter.replace(annotation=written(parameter.annotation, names), default=readable(parameter.default))
        for parameter in signature.parameters.values()
    ]
    value.__signature__ = signature.replace(
        parameters=parameters, return_annotation=written(signature.return_annotation, names)
    )
    value.__annotations__ = {}  # autodoc would evaluate them again


def written(annotation: Any, names: dict[str, Any]) -> Any:
    """Leave out what typer reads of an annotation, and write out the names of our classes, since two may share one."""
    if not isinstance(annotation, str):
        return annotation
    try:
        if typing.get_origin(kind := eval(annotation, names)) is typing.Annotated:
            return kind.__origin__
    except NameError:  # imported for type checkers alone
        pass

    def with_module(match: re.Match[str]) -> str:
        value = names.get(match[0])
        of_ours = inspect.isclass(value) and value.__module__.startswith(PACKAGE)
        return f"{value.__module__}.{value.__qualname__}" if of_ours else match[0]

    return re.sub(r"(?<![.\w])[A-Z]\w*", with_module, annotation)


def readable(default: Any) -> Any:
    """Name a default of a dataclass, which has no source to be read from; others stay as they are."""
    if default is inspect.Parameter.empty or isinstance(default, DefaultValue):
        return default
    if repr(default) == "<factory>":
        return DefaultValue("...")
    return DefaultValue(default.__qualname__) if inspect.isclass(default) or inspect.isroutine(default) else default


def hide_validators(app, domain, objtype, content):
    """Say of an alias such as ``Annotated[str, AfterValidator(...)]`` that it stands for ``str``."""
    for paragraph in list(content.findall(nodes.paragraph)):
        if match := re.match(r"alias of Annotated\[(\w+),", paragraph.astext()):
            paragraph.replace_self(nodes.paragraph("", "alias of ", nodes.literal("", match[1])))


# --- fields ------------------------------------------------------------------------------------------------------


def is_settings(value: Any) -> bool:
    """Whether an object is a pydantic model of ours."""
    return inspect.isclass(value) and hasattr(value, "model_fields") and value.__module__.startswith(PACKAGE)


def field_names(value: Any) -> list[str]:
    """Names of the fields of a pydantic model, dataclass or named tuple of ours; none of anything else."""
    if not inspect.isclass(value) or not value.__module__.startswith(PACKAGE):
        return []
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    return list(getattr(value, "model_fields", None) or getattr(value, "_fields", ()))


BOUNDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}", "min_length": "{} entry or more"}


def describe_default(value: ast.expr | None) -> str:
    """Default of a field, from what stands behind its ``=``."""
    if value is None:
        return "required"
    if not (isinstance(value, ast.Call) and ast.unparse(value.func) == "Field"):
        return f"default ``{ast.unparse(value)}``"
    if value.args:
        return f"default ``{ast.unparse(value.args[0])}``"
    factory = next((keyword.value for keyword in value.keywords if keyword.arg == "default_factory"), None)
    return "required" if factory is None else f"default ``{ast.unparse(factory)}()``"


def bounds(node: ast.AnnAssign) -> list[str]:
    """Bounds of a field, from every ``Field(...)`` behind its ``:`` and its ``=``."""
    calls = [call for call in ast.walk(node) if isinstance(call, ast.Call) and ast.unparse(call.func) == "Field"]
    keywords = [keyword for call in calls for keyword in call.keywords if keyword.arg in BOUNDS]
    return [BOUNDS[keyword.arg].format(ast.unparse(keyword.value)) for keyword in keywords]


class WithoutMetadata(ast.NodeTransformer):
    """Replace ``Annotated[kind, ...]`` by ``kind``."""

    def visit_Subscript(self, node):
        """Called by ast for every ``a[b]``."""
        self.generic_visit(node)
        return node.slice.elts[0] if ast.unparse(node.value) == "Annotated" else node


def fields(model: type) -> Iterator[tuple[str, str, str, str]]:
    """Name, type, default with bounds, and trailing comment of each field that the class itself declares."""
    source = textwrap.dedent(inspect.getsource(model))
    lines, names = source.splitlines(), field_names(model)
    for node in ast.parse(source).body[0].body:
        if isinstance(node, ast.AnnAssign) and node.target.id in names:
            comment = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode()
            default = ", ".join([describe_default(node.value), *bounds(node)])
            kind = f"``{ast.unparse(WithoutMetadata().visit(node.annotation))}``"
            yield node.target.id, kind, default, comment.strip().lstrip("#:").strip()


def list_fields(app, what, name, value, options, lines):
    """Append the fields of a class to its text, unless the text lists them itself."""
    if what != "class" or not field_names(value) or "Attributes:" in lines:
        return
    listed = []
    for field, kind, default, comment in fields(value):
        if is_settings(value):
            listed.append(f"    {field}: {kind}, {default}" + (f"; {comment}" if comment else ""))
        elif comment:
            listed.append(f"    {field}: {comment}")
    if listed:
        lines += ["", "Attributes:", *listed]


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
    app.connect("autodoc-skip-member", skip_known)
    app.connect("autodoc-process-docstring", keep_bars, priority=400)
    app.connect("autodoc-process-docstring", list_fields, priority=410)
    app.connect("autodoc-before-process-signature", keep_source, priority=510)  # after autodoc_preserve_defaults
    app.connect("autodoc-process-signature", hide_signature)
    app.connect("object-description-transform", hide_validators)
    app.connect("missing-reference", resolve)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
