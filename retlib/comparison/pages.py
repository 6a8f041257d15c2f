"""What the notebook shows of a data set: its leaderboards and the quoted rows beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from retlib.audit import Background
from retlib.comparison.boards import PIXELS, STRUCTURE, board, leaderboard, power_table, quoted
from retlib.comparison.contenders import DATASETS, Contender
from retlib.report.tables import style


def show_boards(dataset: str, contenders: Sequence[Contender]) -> None:
    """Display the leaderboard of a data set as two tables: pixels; structure and cost."""
    from IPython.display import display

    if not contenders:
        print("This profile has no run on this data set.")
        return
    frame, name = leaderboard(contenders), DATASETS.get(dataset, dataset)
    what = "Mean over images, with the 95 % interval over images and seeds."
    display(style(board(frame, PIXELS), f"{name}, pixels inside the FOV. {what}"))
    display(style(board(frame, STRUCTURE, cost=True), f"{name}, structure and cost. {what}"))


def show_quoted(dataset: str, background: Background, profile: str) -> None:
    """Display published results on a data set; never beside numbers of phantoms."""
    from IPython.display import display

    if profile == "smoke":
        print("Published results are not shown beside a run on phantoms.")
        return
    name = DATASETS.get(dataset, dataset)
    caption = (
        f"{name}, quoted: as printed in their sources, not measured under this protocol. An asterisk marks a number "
        "that was noted down without the source at hand."
    )
    display(style(quoted(dataset, background), caption))


def show_power(datasets: Mapping[str, Sequence[Contender]], metric: str = "dice") -> None:
    """Display what tests of all pairs could show, and showed."""
    from IPython.display import display

    frame = power_table(datasets, metric)
    frame["data set"] = [DATASETS.get(name, name) for name in frame["data set"]]
    display(style(frame, "All pairs of networks on Dice: what the tests could show at best, and what they showed."))
