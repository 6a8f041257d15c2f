"""Merge layers of settings, from the general to the special, into one RunConfig a run.

The section ``runs`` of a paper's or a study's YAML::

    runs:
      base: {...}                   # fields of RunConfig that all runs share
      profiles: {paper: {...}, lite: {...}, smoke: {...}}
      parts:                        # named sets of fields that runs have in common
        drive: {train: ..., test: ..., profiles: {smoke: {...}}}
      list:
        drive-unet: {use: [drive], model: unet}
        "drive-unet-fold{k}": {use: [drive], for: {k: [1, 2, 3]}, train: {split: "fold{k}of3-train"}}

A run is merged in this order, later over earlier: ``base``, the profile's entry under ``profiles``, then
each part named under ``use``, then the run itself. What a part or a run has under its own ``profiles``
for the profile asked for follows right after it. Mappings merge key by key, lists and single values
replace, and a null removes what was there (the field falls back to RunConfig's default). ``for`` makes
one run of every combination; ``{k}`` is then filled into the name and into every text.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from retlib.settings import Settings

if TYPE_CHECKING:
    from retlib.study import RunConfig

Profile = Literal["smoke", "lite", "paper"]
PROFILES: tuple[Profile, ...] = ("smoke", "lite", "paper")
Role = Literal["table", "fold", "ablation", "control"]
"""A run beside a row of a table; one part of a cross-validation; a table run with one thing changed; a run of ours."""

Loop = dict[str, list[int | str]]


def check_name(kind: str, name: Any, info: Any, hint: str = "") -> Any:
    """Check a name against ``context[kind]``: the names that the library defines, or the file in an earlier field.

    Raises:
        ValueError: the name is not among them; the message lists them and ends in ``hint``.
    """
    known = (info.context or {}).get(kind)
    if known is not None and name not in known:
        raise ValueError(f"expected a {kind} out of {', '.join(known)}{hint}")
    return name


def _check_run(name: str, info: ValidationInfo) -> str:
    return check_name("run", name, info)


RunName = Annotated[str, AfterValidator(_check_run)]
"""The name of a run that the file lists, in any profile."""


class Fields(Settings):
    """Some fields of RunConfig, which checks their values once they are merged, and a description of the run."""

    train: dict[str, Any] | None = None
    also: list[dict[str, Any]] | None = None
    validation: float | None = None
    test: list[dict[str, Any]] | None = None
    inputs: dict[str, Any] | None = None
    model: str | None = None
    model_options: dict[str, Any] | None = None
    pretraining: dict[str, Any] | None = None
    training: dict[str, Any] | None = None
    inference: dict[str, Any] | None = None
    scoring: dict[str, Any] | None = None
    role: Role | None = None
    dataset: str | None = None  # the data set that the run stands for, in every profile
    about: str | None = None

    def explicit(self) -> dict[str, Any]:
        """Return the fields that the file sets, nulls included."""
        return {name: getattr(self, name) for name in Fields.model_fields if name in self.model_fields_set}


class Variant(Fields):
    """Fields that a profile changes in a run; ``for`` replaces the run's own."""

    loop: Loop | None = Field(None, alias="for")


class Part(Fields):
    """Fields that several runs share."""

    profiles: dict[Profile, Fields] = Field(default_factory=dict)


class Template(Variant):
    """One run, or with ``for`` a family of runs."""

    use: tuple[str, ...] = ()
    only: tuple[Profile, ...] = PROFILES  # the profiles that have this run
    profiles: dict[Profile, Variant] = Field(default_factory=dict)

    def loop_in(self, profile: Profile) -> Loop:
        """Return the values to fill in, one list a name in braces, as they are in a profile."""
        variant = self.profiles.get(profile)
        return (variant.loop if variant is not None and variant.loop else self.loop) or {}


class Entry(NamedTuple):
    """One run of a plan, as the file describes it; its settings are merged, and not yet validated."""

    name: str
    role: Role
    dataset: str | None
    about: str
    settings: dict[str, Any]


class Plan(Settings):
    """The section ``runs`` of a YAML file."""

    base: Fields = Fields()
    profiles: dict[Profile, Fields] = Field(default_factory=dict)
    parts: dict[str, Part] = Field(default_factory=dict)
    templates: dict[str, Template] = Field(alias="list")

    def _problems(self) -> list[str]:
        problems = list(self._wrong_templates())
        for profile in PROFILES if not problems else ():
            counts = Counter(entry.name for entry in self._expand(profile))
            if doubled := ", ".join(sorted(name for name, count in counts.items() if count > 1)):
                problems.append(f"list: expected names that differ, got {doubled} twice in profile {profile}")
        return problems

    def _wrong_templates(self) -> Iterator[str]:
        for template, run in self.templates.items():
            for part in run.use:
                if part not in self.parts:
                    known = ", ".join(self.parts) or "(no parts)"
                    yield f"list.{template}.use: expected some of {known}, got {part!r}"
            expected = ", ".join(sorted(set(re.findall(r"{(\w+)}", template)))) or "none"
            for loop in dict.fromkeys(", ".join(sorted(run.loop_in(profile))) or "none" for profile in run.only):
                if loop != expected:
                    yield (
                        f"list.{template}.for: expected the names in braces of the run's name ({expected}), got {loop}"
                    )

    @cached_property
    def entries(self) -> dict[Profile, dict[str, Entry]]:
        """The runs of each profile by name, in the order of the file."""
        return {profile: {entry.name: entry for entry in self._expand(profile)} for profile in PROFILES}

    def _expand(self, profile: Profile) -> Iterator[Entry]:
        for template, run in self.templates.items():
            if profile not in run.only:
                continue
            merged = self._merge_layers(run, profile)
            loop = run.loop_in(profile)
            for values in itertools.product(*loop.values()):
                names = dict(zip(loop, values, strict=True))
                settings = fill(merged, names)
                role, dataset, about = (settings.pop(key, None) for key in ("role", "dataset", "about"))
                yield Entry(fill(template, names), role or "table", dataset, about or "", settings)

    def _merge_layers(self, run: Template, profile: Profile) -> dict[str, Any]:
        layers = [self.base, self.profiles.get(profile)]
        for part in [*(self.parts[name] for name in run.use), run]:
            layers += [part, part.profiles.get(profile)]
        merged: dict[str, Any] = {}
        for layer in layers:
            if layer is not None:
                merged = merge(merged, layer.explicit())
        return merged


class RunsFile(Settings):
    """A YAML file with a section ``runs``: a paper or a study."""

    key: str  # its name, also the file's
    title: str  # for headings
    run_plan: Plan = Field(alias="runs")

    @field_validator("run_plan")
    @classmethod
    def _list_runs(cls, plan: Plan, info: ValidationInfo) -> Plan:
        # For `RunName` in the fields that follow: base classes' fields are validated first.
        if info.context is not None:
            info.context["run"] = sorted({name for entries in plan.entries.values() for name in entries})
        return plan

    def plan(self, profile: str) -> dict[str, Entry]:
        """List the runs of a profile by name, in the order of the file, without validating them; needs no torch.

        Raises:
            ValueError: an unknown profile.
        """
        if profile not in PROFILES:
            raise ValueError(f"unknown profile {profile!r}; known: {', '.join(PROFILES)}")
        return self.run_plan.entries[profile]

    def config(self, name: str, profile: str, seed: int = 0) -> RunConfig:
        """Validate one run.

        Raises:
            ValueError: an unknown profile or run; a field, a model's option or a loss is wrong: the message opens with
                the file's key and the run's name.
        """
        from retlib.study import RunConfig

        entry = self.plan(profile).get(name)
        if entry is None:
            raise ValueError(f"{self.key}: profile {profile} has no run {name!r}")
        place = f"{self.key}: runs.list.{name} (profile {profile})"
        return RunConfig.parse({**entry.settings, "profile": profile, "seed": seed}, where=place)

    def runs(
        self, profile: str, seed: int = 0, *, role: str | None = None, dataset: str | None = None
    ) -> dict[str, RunConfig]:
        """Validate the runs of a profile; by name, in the order of the file.

        Args:
            profile: ``smoke``, ``lite`` or ``paper``.
            seed: The seed of every run.
            role: Only runs of this role: ``table``, ``fold``, ``ablation`` or ``control``.
            dataset: Only runs that stand for this data set.

        Raises:
            ValueError: an unknown profile; a run that is no valid RunConfig.
        """
        return {
            name: self.config(name, profile, seed)
            for name, entry in self.plan(profile).items()
            if role in (None, entry.role) and dataset in (None, entry.dataset)
        }


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Put ``over`` on top of ``under``: mappings merge, None removes, anything else replaces. Changes neither."""
    result = dict(under)
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            below = result.get(key)
            result[key] = merge(below if isinstance(below, dict) else {}, value)
        else:
            result[key] = value
    return result


def fill(value: Any, names: dict[str, int | str]) -> Any:
    """Replace ``{k}`` by ``names["k"]`` in every text inside ``value``; other braces stay."""
    if isinstance(value, str):
        return re.sub(r"{(\w+)}", lambda match: str(names.get(match[1], match[0])), value)
    if isinstance(value, dict):
        return {key: fill(item, names) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [fill(item, names) for item in value]
    return value
