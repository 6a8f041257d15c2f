"""Published results that stand beside ours as quoted rows, and what their own numbers imply."""

from __future__ import annotations

import functools
import math
from typing import Literal

from pydantic import Field, model_validator

from retlib.audit import Background, audit_row, list_published
from retlib.settings import Settings
from retlib.study.loader import read_yaml
from retlib.study.printed import Text


class Peer(Settings):
    """A method whose results are quoted.

    Attributes:
        label: what it is called.
        source: where the numbers stand.
        protocol: what the source says, or its code shows, of region, threshold and averaging.
        parameters: weights, as the source or a count of its code has it; None where unknown.
        scores: data set (retlib's name) -> score (retlib's name) -> number as printed, as a fraction; means over images
            where the source says so.
        pooled: the same over the pixels of all images together, where the source has both.
        measured: whether it was run under this protocol, with its authors' weights and code.
        unchecked: scores that were noted down without the source at hand.
    """

    label: str
    source: str
    protocol: str = ""
    parameters: int | None = None
    scores: dict[str, dict[str, Text]] = Field(min_length=1)
    pooled: dict[str, dict[str, Text]] = {}
    measured: bool = False
    unchecked: tuple[str, ...] = ()


class Goal(Settings):
    """A number that our own network is held against on DRIVE's test images: one of the two bounds.

    Attributes:
        metric: retlib's name, or ``seconds``, an image.
        average: over images, or of all pixels together.
        at_least: reached by this number and by larger ones.
        at_most: reached by this number and by smaller ones.
    """

    metric: str
    average: Literal["image", "pooled"] = "image"
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> Goal:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"goal {self.metric}: expected one of at_least and at_most")
        return self

    @property
    def text(self) -> str:
        """``at least 0.829``."""
        return f"at least {self.at_least:g}" if self.at_most is None else f"at most {self.at_most:g}"

    def judge(self, value: float) -> Literal["met", "missed", "not known"]:
        """A number against the goal, as it is and not as it is rounded for reading."""
        if math.isnan(value):
            return "not known"
        met = value >= self.at_least if self.at_most is None else value <= self.at_most
        return "met" if met else "missed"


class _File(Settings):
    rows: tuple[Peer, ...] = Field(min_length=1)
    goals: tuple[Goal, ...]


def list_peers() -> tuple[Peer, ...]:
    """The rows of ``peers.yaml``, then those of the audit's published results, in the order of the files."""
    published = [
        Peer(label=row.label, source=row.source, scores={row.dataset: row.scores}, unchecked=row.unchecked)
        for row in list_published()
    ]
    return (*_read().rows, *published)


def list_goals() -> tuple[Goal, ...]:
    """What our own network is held against, from ``peers.yaml``."""
    return _read().goals


def measured_peer() -> Peer:
    """The peer that was run under this protocol, by its authors' weights and code."""
    return next(peer for peer in _read().rows if peer.measured)


@functools.cache
def _read() -> _File:
    from importlib.resources import files

    text = files("retlib.comparison").joinpath("peers.yaml").read_text(encoding="utf-8")
    return _File.parse(read_yaml(text, "peers.yaml"), where="peers.yaml")


def implied(peer: Peer, dataset: str, background: Background) -> str:
    """The region that a peer's own numbers imply: from accuracy and others, by the audit's arithmetic."""
    row = audit_row(peer.scores[dataset], dataset=dataset, test_part=True, background=background, label=peer.label)
    if row.share is None or row.share.interval is None:
        return "its numbers do not tell"
    span = row.share.interval
    return f"{row.share.region or 'region unknown'}: share {span.low:.3f} to {span.high:.3f}"
