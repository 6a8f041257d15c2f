"""A paper's tables: cells as printed, and what they say in retlib's metrics."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from retlib.metrics import METRICS
from retlib.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

PRINTED_METRICS = (*METRICS, "loss", "mean_iou")
"""Metrics that papers print: `retlib.metrics.evaluate`'s, an epoch's loss, IoU averaged over classes."""

_NUMBER = re.compile(r"[+-]?\d+(\.(?P<decimals>\d+))?(?P<percent>\s?%)?")
_DASHES = re.compile(r"[-–—]*")


@dataclass(frozen=True)
class Printed:
    """A number as a paper prints it.

    Attributes:
        text: The characters on the page: ``"0.9500"``, ``"84.03%"``.
        percent: Whether it is a percentage without saying so; a ``%`` in the text has the same effect.
    """

    text: str
    percent: bool = False

    def __post_init__(self) -> None:
        if _NUMBER.fullmatch(self.text) is None:
            raise ValueError(f"expected a number as printed, such as '0.9500' or '84.03%', got {self.text!r}")

    @property
    def shown(self) -> float:
        """The number on the page: 0.95 of ``"0.9500"``, 84.03 of ``"84.03%"``."""
        return float(self.text.rstrip("% "))

    @property
    def value(self) -> float:
        """The number as a fraction of one: 0.8403 of ``"84.03%"``."""
        return self.shown / self._unit

    @property
    def decimals(self) -> int:
        """Digits after the point, trailing zeros included."""
        return len(_NUMBER.fullmatch(self.text)["decimals"] or "")

    @property
    def half_unit(self) -> float:
        """Half a unit of the last digit, as a fraction of one: what was rounded lies this near."""
        return 0.5 * 10.0**-self.decimals / self._unit

    @property
    def _unit(self) -> int:
        return 100 if self.percent or self.text.endswith("%") else 1


def is_number(cell: str) -> bool:
    """Whether a cell is one number, perhaps with a percent sign."""
    return _NUMBER.fullmatch(cell) is not None


def is_missing(cell: str | None) -> bool:
    """Whether a cell is empty or holds dashes alone."""
    return cell is None or _DASHES.fullmatch(cell.strip()) is not None


def _as_printed(value: Any) -> Any:
    if value is not None and not isinstance(value, str):
        raise ValueError("expected a text: numbers stand in quotation marks, so that they keep their last zeros")
    return value


Text = Annotated[str, BeforeValidator(_as_printed)]
"""A text as printed; a bare number is an error that says what to do."""


class Row(Settings):
    """One row of a table.

    Attributes:
        kind: ``measured``: a model that the paper's authors trained; ``quoted``: numbers from the literature.
        cells: What is printed, one text a column; None or dashes where nothing is.
        dataset: The data set of the row's numbers; None where ``values`` names several.
        run: The run whose record stands beside this row; None where nothing of ours does.
        epoch: The epoch of that run, in a table over epochs.
        values: Data set -> metric -> number as printed, for rows whose cells are free text.
        percent: The numbers are percentages though no percent sign says so.
        note: What a reader should know of this row: an oddity, a contradiction.
    """

    kind: Literal["measured", "quoted"]
    cells: tuple[Annotated[str | None, BeforeValidator(_as_printed)], ...]
    dataset: str | None = None
    run: str | None = None
    epoch: int | None = None
    values: dict[str, dict[str, Text]] = Field(default_factory=dict)
    percent: bool = False
    note: str = ""


class Table(Settings):
    """One table of a paper.

    Attributes:
        number: As the paper counts: ``"4"``.
        caption: What it shows, in our words.
        columns: The paper's own headings.
        metrics: Heading -> retlib's metric, for columns of numbers that a record can stand beside.
        rows: The rows, in the paper's order.
        note: What a reader should know of the table.
    """

    number: str
    caption: str
    columns: tuple[Text, ...]
    metrics: dict[str, str] = Field(default_factory=dict)
    rows: tuple[Row, ...]
    note: str = ""

    @property
    def reported(self) -> pd.DataFrame:
        """The table as printed, under the paper's own headings.

        Columns of numbers are float64 with NaN where nothing is printed (``84.03%`` gives 84.03); columns
        of text are objects with None there.
        """
        import pandas as pd

        numeric = self.decimals
        content = {}
        for index, column in enumerate(self.columns):
            cells = [None if is_missing(row.cells[index]) else row.cells[index] for row in self.rows]
            if column in numeric:
                shown = [float("nan") if cell is None else Printed(cell).shown for cell in cells]
                content[column] = pd.Series(shown, dtype="float64")
            else:
                content[column] = pd.Series(cells, dtype="object")
        return pd.DataFrame(content, columns=list(self.columns))

    @property
    def decimals(self) -> dict[str, int]:
        """Column of numbers -> digits after the point as printed (the most, where rows differ)."""
        found = {}
        for index, column in enumerate(self.columns):
            cells = [row.cells[index] for row in self.rows if not is_missing(row.cells[index])]
            if cells and all(is_number(cell) for cell in cells):
                found[column] = max(Printed(cell).decimals for cell in cells)
        return found

    def values(self, index: int) -> dict[str, dict[str, Printed]]:
        """What row ``index`` says: data set -> metric -> number; empty where it holds no number."""
        row = self.rows[index]
        if row.values:
            return {
                dataset: {metric: Printed(text, row.percent) for metric, text in metrics.items()}
                for dataset, metrics in row.values.items()
            }
        places = {self.columns.index(column): metric for column, metric in self.metrics.items()}
        found = {
            metric: Printed(row.cells[place], row.percent)
            for place, metric in places.items()
            if not is_missing(row.cells[place])
        }
        return {row.dataset: found} if found else {}

    def problems(self) -> list[str]:
        """What is wrong with the table, each with its place: ``rows.0.cells: ...``. Empty for a sound one."""
        found = []
        if len(set(self.columns)) < len(self.columns):
            found.append(f"columns: expected headings that differ, got {list(self.columns)}")
        for column, metric in self.metrics.items():
            if column not in self.columns:
                found.append(f"metrics.{column}: expected one of the columns {list(self.columns)}")
            if metric not in PRINTED_METRICS:
                found.append(f"metrics.{column}: expected one of {', '.join(PRINTED_METRICS)}, got {metric!r}")
        for index, row in enumerate(self.rows):
            found += [f"rows.{index}.{problem}" for problem in self._row_problems(row)]
        return found

    def _row_problems(self, row: Row) -> list[str]:
        if len(row.cells) != len(self.columns):
            return [f"cells: expected {len(self.columns)}, one a column, got {len(row.cells)}: {list(row.cells)}"]
        found = []
        cells = dict(zip(self.columns, row.cells, strict=True))
        for column in self.metrics.keys() & cells.keys():
            if not is_missing(cells[column]) and not is_number(cells[column]):
                found.append(f"cells: expected a number or a dash under {column!r}, got {cells[column]!r}")
        if row.values and self.metrics:
            found.append("values: expected none, the table's `metrics` already say what its columns mean")
        if self.metrics and row.dataset is None:
            found.append("dataset: expected the data set of this row's numbers")
        if row.epoch is not None and row.run is None:
            found.append("run: expected the run that this epoch belongs to")
        page = " ".join(cell for cell in row.cells if cell)
        for dataset, metrics in row.values.items():
            for metric, text in metrics.items():
                place = f"values.{dataset}.{metric}"
                if metric not in PRINTED_METRICS:
                    found.append(f"{place}: expected a metric out of {', '.join(PRINTED_METRICS)}")
                if not is_number(text) or not re.search(rf"(?<![\d.]){re.escape(text)}(?!\d)", page):
                    found.append(f"{place}: expected a number that the row's cells print, got {text!r}")
        return found
