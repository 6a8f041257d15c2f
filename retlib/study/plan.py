"""A paper's runs: layers of settings, from the general to the special, merged into one RunConfig a run.

The section ``runs`` of a paper's YAML::

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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from retlib.settings import Settings

if TYPE_CHECKING:
    from retlib.study import RunConfig

Profile = Literal["smoke", "lite", "paper"]
PROFILES: tuple[Profile, ...] = ("smoke", "lite", "paper")
Role = Literal["table", "fold", "ablation", "control"]

_DESCRIPTION = ("role", "dataset", "about")


class Fields(Settings):
    """Some fields of RunConfig, checked by it once they are merged, and a description of the run."""

    train: dict[str, Any] | None = None
    validation: float | None = None
    test: list[dict[str, Any]] | None = None
    inputs: dict[str, Any] | None = None
    model: str | None = None
    model_options: dict[str, Any] | None = None
    pretraining: dict[str, Any] | None = None
    training: dict[str, Any] | None = None
    inference: dict[str, Any] | None = None
    scoring: dict[str, Any] | None = None
    # table: stands beside a row; fold: one part of a cross-validation; ablation: a table run with one thing changed;
    # control: ours, beside no row
    role: Role | None = None
    dataset: str | None = None  # the data set that the run stands for, in every profile
    about: str | None = None

    def given(self) -> dict[str, Any]:
        """What was written down, nulls included."""
        return {name: getattr(self, name) for name in Fields.model_fields if name in self.model_fields_set}


class Variant(Fields):
    """What a profile changes in a run; ``for`` replaces the run's own."""

    loop: dict[str, list[int | str]] | None = Field(None, alias="for")


class Part(Fields):
    """Fields that several runs share."""

    profiles: dict[Profile, Fields] = Field(default_factory=dict)


class Run(Variant):
    """One run, or with ``for`` a family of runs."""

    use: tuple[str, ...] = ()
    only: tuple[Profile, ...] = PROFILES  # the profiles that have this run
    profiles: dict[Profile, Variant] = Field(default_factory=dict)


@dataclass(frozen=True)
class PlannedRun:
    """A run of one profile before it is validated: reading it needs no torch.

    Attributes:
        name: Unique in the paper.
        profile: Its size.
        role: ``table``, ``fold`` or ``control``.
        dataset: The data set it stands for (phantoms take its place in smoke).
        about: One line for people.
        settings: Fields of RunConfig, merged.
    """

    name: str
    profile: str
    role: str
    dataset: str | None
    about: str
    settings: dict[str, Any]

    def config(self, seed: int = 0, where: str = "") -> RunConfig:
        """The validated config.

        Raises:
            ValueError: a field, a model's option or a loss is wrong; the message opens with ``where`` and the
                run's name.
        """
        from retlib.study import RunConfig

        place = f"{where}runs.list.{self.name} (profile {self.profile})"
        return RunConfig.parse({**self.settings, "profile": self.profile, "seed": seed}, where=place)


class Plan(Settings):
    """The section ``runs`` of a paper."""

    base: Fields = Fields()
    profiles: dict[Profile, Fields] = Field(default_factory=dict)
    parts: dict[str, Part] = Field(default_factory=dict)
    entries: dict[str, Run] = Field(alias="list")

    def runs(self, profile: str) -> dict[str, PlannedRun]:
        """The runs of a profile by name, in the order of the file.

        Raises:
            ValueError: an unknown profile.
        """
        if profile not in PROFILES:
            raise ValueError(f"unknown profile {profile!r}; known: {', '.join(PROFILES)}")
        planned = {}
        for template, run in self.entries.items():
            if profile not in run.only:
                continue
            settings = self._merged(run, profile)
            for values in _combinations(_loop(run, profile)):
                filled = fill(settings, values)
                described = {key: filled.pop(key, None) for key in _DESCRIPTION}
                name = fill(template, values)
                planned[name] = PlannedRun(
                    name,
                    profile,
                    described["role"] or "table",
                    described["dataset"],
                    described["about"] or "",
                    filled,
                )
        return planned

    def names(self) -> set[str]:
        """Names of the runs of all profiles."""
        return {name for profile in PROFILES for name in self.runs(profile)}

    def problems(self) -> list[str]:
        """What is wrong with the section, each with its place. Empty for a sound one."""
        found = []
        for template, run in self.entries.items():
            place = f"list.{template}"
            for part in run.use:
                if part not in self.parts:
                    found.append(f"{place}.use: expected some of {', '.join(self.parts) or '(no parts)'}, got {part!r}")
            used = set(re.findall(r"{(\w+)}", template))
            for looped in {frozenset(_loop(run, profile)) for profile in run.only} - {frozenset(used)}:
                expected, got = (", ".join(sorted(names)) or "none" for names in (used, looped))
                found.append(f"{place}.for: expected the names in braces of the run's name ({expected}), got {got}")
        if found:
            return found
        for profile in PROFILES:
            names = [
                fill(template, values)
                for template, run in self.entries.items()
                if profile in run.only
                for values in _combinations(_loop(run, profile))
            ]
            if doubled := sorted({name for name in names if names.count(name) > 1}):
                found.append(f"list: expected names that differ, got {', '.join(doubled)} twice in profile {profile}")
        return found

    def _merged(self, run: Run, profile: str) -> dict[str, Any]:
        layers: list[Fields | None] = [self.base, self.profiles.get(profile)]
        for name in run.use:
            layers += [self.parts[name], self.parts[name].profiles.get(profile)]
        layers += [run, run.profiles.get(profile)]
        merged: dict[str, Any] = {}
        for layer in layers:
            if layer is not None:
                merged = merge(merged, layer.given())
        return merged


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``over`` on top of ``under``: mappings merge, None removes, anything else replaces. Changes neither."""
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
    """``{k}`` in every text inside ``value`` replaced by ``names["k"]``; other braces stay."""
    if isinstance(value, str):
        return re.sub(r"{(\w+)}", lambda match: str(names.get(match[1], match[0])), value)
    if isinstance(value, dict):
        return {key: fill(item, names) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [fill(item, names) for item in value]
    return value


def _loop(run: Run, profile: str) -> dict[str, list[int | str]]:
    variant = run.profiles.get(profile)
    return (variant.loop if variant is not None and variant.loop else run.loop) or {}


def _combinations(loop: dict[str, list[int | str]]) -> list[dict[str, int | str]]:
    return [dict(zip(loop, values, strict=True)) for values in itertools.product(*loop.values())]
