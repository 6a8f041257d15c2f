"""Published results that stand beside ours as quoted rows, and what their own numbers imply."""

from __future__ import annotations

from pydantic import Field

from retlib.audit import Background, audit_row, list_published
from retlib.papers.loader import read_yaml
from retlib.papers.tables import Text
from retlib.validation import Settings


class Peer(Settings):
    """A method whose results are quoted.

    Attributes:
        label: what it is called.
        source: where the numbers stand.
        protocol: what the source says, or its code shows, of region, threshold and averaging.
        parameters: weights, as the source or a count of its code has it; None where unknown.
        scores: data set (retlib's name) -> score (retlib's name) -> number as printed, as a fraction.
        unchecked: scores that were noted down without the source at hand.
    """

    label: str
    source: str
    protocol: str = ""
    parameters: int | None = None
    scores: dict[str, dict[str, Text]] = Field(min_length=1)
    unchecked: tuple[str, ...] = ()


class _File(Settings):
    rows: tuple[Peer, ...] = Field(min_length=1)


def list_peers() -> tuple[Peer, ...]:
    """The rows of ``peers.yaml``, then those of the audit's published results, in the order of the files."""
    from importlib.resources import files

    text = files("retlib.comparison").joinpath("peers.yaml").read_text(encoding="utf-8")
    rows = _File.parse(read_yaml(text, "peers.yaml"), where="peers.yaml").rows
    published = [
        Peer(label=row.label, source=row.source, scores={row.dataset: row.scores}, unchecked=row.unchecked)
        for row in list_published()
    ]
    return (*rows, *published)


def implied(peer: Peer, dataset: str, background: Background) -> str:
    """The region that a peer's own numbers imply: from accuracy and others, by the audit's arithmetic."""
    row = audit_row(peer.scores[dataset], dataset=dataset, test_part=True, background=background, label=peer.label)
    if row.share is None or row.share.interval is None:
        return "its numbers do not tell"
    span = row.share.interval
    return f"{row.share.region or 'region unknown'}: share {span.low:.3f} to {span.high:.3f}"
