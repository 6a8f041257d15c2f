"""Describe runs: everything that decides the numbers of a record, validated and hashed."""

from __future__ import annotations

import hashlib
import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from retlib.augmentation import FOR_RGB
from retlib.data import dataset_fingerprint, list_datasets, split_names
from retlib.inference import InferenceSettings
from retlib.losses import build_loss
from retlib.models import model_options as known_options
from retlib.preprocessing import InputSettings
from retlib.settings import Settings
from retlib.study.plan import Profile
from retlib.training import TrainingSettings

# Raise this when a change of the code may change numbers: records of an older value are then shown as stale.
NUMERICS = 2


class Selection(Settings):
    """Select images of one data set: ``Selection(dataset="drive", split="test")``."""

    dataset: str
    split: str
    options: dict[str, Any] = {}  # of load_dataset: count, height, width, lesions (phantom only)

    @model_validator(mode="after")
    def _exists(self) -> Selection:
        if self.dataset not in list_datasets():
            raise ValueError(f"unknown data set {self.dataset!r}; known: {', '.join(list_datasets())}")
        split_names(self.dataset, self.split, **self.options)
        return self

    @property
    def label(self) -> str:
        """Name this selection as records do: ``drive:test``."""
        return f"{self.dataset}:{self.split}"

    def names(self) -> tuple[str, ...]:
        """List the names of the selected images; reads no file."""
        return split_names(self.dataset, self.split, **self.options)


class Recorded(Settings, ABC):
    """Describe what a record is made from; its id is the hash of the explicit fields and of the data they name."""

    @abstractmethod
    def explicit_fields(self) -> dict[str, Any]:
        """Return what decides the record, as JSON holds it; equal configs have equal content."""

    @abstractmethod
    def selections(self) -> dict[str, Selection]:
        """Return all images that the config names, by label."""

    def canonical_json(self) -> str:
        """Write the explicit fields as JSON with sorted keys."""
        return json.dumps(self.explicit_fields(), sort_keys=True, separators=(",", ":"))

    def fingerprints(self, root: str | Path | None = None) -> dict[str, str]:
        """Compute the fingerprint of each selection's data, by label; without the files the committed one is used."""
        return {
            label: dataset_fingerprint(chosen.dataset, chosen.names(), root, **chosen.options)
            for label, chosen in self.selections().items()
        }

    def identify(self, root: str | Path | None = None) -> str:
        """Compute the record's id with the data under ``root`` (RETLIB_DATA by default): 16 hexadecimal digits."""
        return self.hash_with(self.fingerprints(root))

    def header(self, root: str | Path | None = None) -> dict[str, Any]:
        """Make the first keys of the record: ``id``, ``config`` and ``fingerprints``."""
        prints = self.fingerprints(root)
        return {"id": self.hash_with(prints), "config": self.model_dump(mode="json"), "fingerprints": prints}

    def hash_with(self, fingerprints: dict[str, str]) -> str:
        """Compute the id from the explicit fields and the fingerprints of the data."""
        text = self.canonical_json() + json.dumps(fingerprints, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def flatten(settings: Mapping[str, Any], start: str = "") -> dict[str, Any]:
    """List nested settings by dotted name: ``training.loss.dice`` -> 1.0; lists and empty groups stay whole."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        nested = isinstance(value, dict) and value
        flat |= flatten(value, f"{start}{key}.") if nested else {f"{start}{key}": value}
    return flat


class ScoringSettings(Settings):
    """Say which pixels are scored, and where the threshold comes from."""

    region: Literal["fov", "frame"] = "fov"
    average: Literal["image", "pooled"] = "image"
    # A probability; or the one with the highest pooled Dice on the training or the validation images.
    threshold: float | Literal["training", "validation"] = 0.5

    @field_validator("threshold")
    @classmethod
    def _in_range(cls, value: float | str) -> float | str:
        if not isinstance(value, str) and not 0 < value < 1:
            raise ValueError("a threshold is a probability between 0 and 1, or 'training', or 'validation'")
        return value


class Pretraining(Settings):
    """Describe a training on other images, from whose weights the run's own training starts."""

    train: Selection
    training: TrainingSettings

    @model_validator(mode="after")
    def _without_validation(self) -> Pretraining:
        if self.training.looks_at_validation:
            raise ValueError(f"pretraining holds no images out, so {self.training.looks_at_validation} cannot be used")
        return self


class RunConfig(Recorded):
    """Describe a run: train a model on one selection, score it on others. Equal configs give equal numbers."""

    profile: Profile
    seed: int = Field(ge=0)
    numerics: int = NUMERICS
    train: Selection
    also: tuple[Selection, ...] = ()  # further training images, of other data sets; none of them is held out
    validation: float = Field(0.1, ge=0, lt=1)  # share of the images of ``train``, drawn by seed, never trained on
    test: tuple[Selection, ...] = Field(min_length=1)  # the first is the paper's; others: cross-data-set
    inputs: InputSettings = InputSettings()
    model: str
    model_options: dict[str, Any] = {}
    pretraining: Pretraining | None = None
    training: TrainingSettings
    inference: InferenceSettings = InferenceSettings()
    scoring: ScoringSettings = ScoringSettings()

    @model_validator(mode="after")
    def _known_model_and_loss(self) -> RunConfig:
        # What would otherwise show only when training starts.
        known = known_options(self.model)
        if unknown := sorted(set(self.model_options) - set(known)):
            raise ValueError(f"{self.model} has no option {', '.join(unknown)}; it takes {', '.join(known)}")
        build_loss(self.training.loss, **self.training.loss_options)
        if self.training.augmentation in FOR_RGB and self.inputs.channels != 3:
            raise ValueError(
                f"training.augmentation: {self.training.augmentation!r} changes hue and needs an RGB input, "
                f"not inputs.preprocessing {list(self.inputs.preprocessing)}"
            )
        return self

    @model_validator(mode="after")
    def _disjoint(self) -> RunConfig:
        seen = [self.train, *self.also] + ([] if self.pretraining is None else [self.pretraining.train])
        for trained, selection in itertools.product(seen, self.test):
            shared = set(trained.names()) & set(selection.names()) if selection.dataset == trained.dataset else set()
            if shared and selection.options == trained.options:
                raise ValueError(f"test {selection.label} shares images with the training set: {sorted(shared)[:3]}")
        labels = [selection.label for selection in self.test]
        if len(set(labels)) < len(labels):
            raise ValueError(f"test: a selection is named twice in {labels}")
        names = [name for selection in (self.train, *self.also) for name in selection.names()]
        if len(set(names)) < len(names):
            raise ValueError(f"also: expected other images than those of train, {self.train.label}, each once")
        return self

    def explicit_fields(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults, and the numerics.

        Fields at their defaults are left out, so that a new field does not rename the runs that never used it;
        changing a default therefore changes what old ids mean, and needs a new ``NUMERICS``.
        """
        return self.model_dump(mode="json", exclude_defaults=True) | {"numerics": self.numerics}

    def selections(self) -> dict[str, Selection]:
        """Return the training, test and pre-training images."""
        extra = {} if self.pretraining is None else {"pretraining": self.pretraining.train}
        named = {selection.label: selection for selection in (*self.also, *self.test)}
        return {"train": self.train} | named | extra

    def split_training(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Draw the names of the images to train on and to validate on from the training selection, by the seed."""
        names = self.train.names()
        count = 0 if self.validation == 0 else max(1, round(self.validation * len(names)))
        if count >= len(names):
            raise ValueError(f"validation: {self.validation:g} of {len(names)} images leaves none to train on")
        order = np.random.default_rng([self.seed, 20041]).permutation(len(names))
        held_out = {names[i] for i in order[:count]}
        return tuple(n for n in names if n not in held_out), tuple(n for n in names if n in held_out)
