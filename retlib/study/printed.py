"""Read the cells of a paper's tables, as printed and as numbers in retlib's metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from retlib.metrics import METRICS
from retlib.settings import Settings
from retlib.study.plan import RunName, check_name

if TYPE_CHECKING:
    import pandas as pd

_HINT = " (one that only quoted rows speak of belongs under other_datasets)"


def _check_dataset(name: str, info: Any) -> str:
    return check_name("data set", name, info, _HINT)


DatasetName = Annotated[str, AfterValidator(_check_dataset)]
"""A data set of retlib's, or one of the paper's ``other_datasets``."""

PrintedMetric = Literal[(*METRICS, "loss", "mean_iou")]
"""A metric that papers print: one of `retlib.metrics.evaluate`, an epoch's loss, IoU averaged over classes."""

_NUMBER = re.compile(r"[+-]?\d+(\.(?P<decimals>\d+))?(?P<percent>\s?%)?")
_DASHES = re.compile(r"[-–—]*")


@dataclass(frozen=True)
class Printed:
    """A number as a paper prints it: ``"0.9500"``, ``"84.03%"``."""

    text: str
    percent: bool = False  # it is a percentage without saying so; a % in the text has the same effect

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
        """Half a unit of the last digit, as a fraction of one: the most that rounding changes."""
        return 0.5 * 10.0**-self.decimals / self._unit

    @property
    def _unit(self) -> int:
        return 100 if self.percent or self.text.endswith("%") else 1


def is_number(cell: str) -> bool:
    """Tell whether a cell is one number, perhaps with a percent sign."""
    return _NUMBER.fullmatch(cell) is not None


def is_missing(cell: str | None) -> bool:
    """Tell whether a cell is empty or holds dashes alone."""
    return cell is None or _DASHES.fullmatch(cell.strip()) is not None


def _as_printed(value: Any) -> Any:
    if value is not None and not isinstance(value, str):
        raise ValueError("expected a text: numbers stand in quotation marks, so that they keep their last zeros")
    return value


Text = Annotated[str, BeforeValidator(_as_printed)]
"""A text as printed; a bare number is an error that says what to do."""


def _check_number(text: str) -> str:
    return Printed(text).text


NumberText = Annotated[Text, AfterValidator(_check_number)]
"""The text of one number."""


class Row(Settings):
    """One row of a table."""

    kind: Literal["measured", "quoted"]  # of a model that the paper's authors trained, or from the literature
    cells: tuple[Annotated[str | None, BeforeValidator(_as_printed)], ...]  # one a column; None or dashes for nothing
    dataset: DatasetName | None = None  # of the row's numbers; None where `values` names several
    run: RunName | None = None  # whose record stands beside this row; None where nothing of ours does
    epoch: int | None = None  # of that run, in a table over epochs
    values: dict[DatasetName, dict[PrintedMetric, NumberText]] = Field(default_factory=dict)  # where cells are text
    percent: bool = False  # the numbers are percentages though no percent sign says so
    note: str = ""  # what a reader should know of this row: an oddity, a contradiction


class Table(Settings):
    """One table of a paper."""

    number: str  # as the paper counts: "4"
    caption: str  # what it shows, in our words
    columns: tuple[Text, ...]  # the paper's own headings
    metrics: dict[str, PrintedMetric] = Field(default_factory=dict)  # heading -> metric, for numbers like a record's
    rows: tuple[Row, ...]  # in the paper's order
    note: str = ""  # what a reader should know of the table

    @property
    def reported(self) -> pd.DataFrame:
        """The table as printed, under the paper's own headings.

        Columns of numbers are float64 with NaN where nothing is printed (``84.03%`` gives 84.03); columns
        of text are objects with None there.
        """
        import pandas as pd

        cells = [[None if is_missing(cell) else cell for cell in row.cells] for row in self.rows]
        frame = pd.DataFrame(cells, columns=list(self.columns), dtype="object")
        for column in frame:
            printed = frame[column].dropna()
            if len(printed) and printed.map(is_number).all():
                frame[column] = pd.to_numeric(frame[column].str.rstrip("% ")).astype("float64")
        return frame

    def values(self, index: int) -> dict[str, dict[str, Printed]]:
        """Return the numbers of row ``index``: data set -> metric -> number; empty where it holds none."""
        row = self.rows[index]
        cells = dict(zip(self.columns, row.cells, strict=True))
        numbers = {metric: cells[column] for column, metric in self.metrics.items() if not is_missing(cells[column])}
        return {
            dataset: {metric: Printed(text, row.percent) for metric, text in texts.items()}
            for dataset, texts in (row.values or {row.dataset: numbers}).items()
            if texts
        }

    def _problems(self) -> Iterator[str]:
        if len(set(self.columns)) < len(self.columns):
            yield f"columns: expected headings that differ, got {list(self.columns)}"
        for column in self.metrics.keys() - set(self.columns):
            yield f"metrics.{column}: expected one of the columns {list(self.columns)}"
        for index, row in enumerate(self.rows):
            yield from (f"rows.{index}.{problem}" for problem in self._wrong_row(row))

    def _wrong_row(self, row: Row) -> Iterator[str]:
        if len(row.cells) != len(self.columns):
            yield f"cells: expected {len(self.columns)}, one a column, got {len(row.cells)}: {list(row.cells)}"
            return
        cells = dict(zip(self.columns, row.cells, strict=True))
        for column in self.metrics.keys() & cells.keys():
            if not is_missing(cells[column]) and not is_number(cells[column]):
                yield f"cells: expected a number or a dash under {column!r}, got {cells[column]!r}"
        if row.values and self.metrics:
            yield "values: expected none, the table's `metrics` already say what its columns mean"
        if self.metrics and row.dataset is None:
            yield "dataset: expected the data set of this row's numbers"
        if row.epoch is not None and row.run is None:
            yield "run: expected the run that this epoch belongs to"
        page = " ".join(filter(None, row.cells))
        for dataset, metrics in row.values.items():
            for metric, text in metrics.items():
                if not re.search(rf"(?<![\d.]){re.escape(text)}(?!\d)", page):
                    yield f"values.{dataset}.{metric}: expected a number that the row's cells print, got {text!r}"
