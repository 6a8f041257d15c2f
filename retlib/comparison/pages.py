"""What the notebook shows of a data set: its leaderboards and the quoted rows beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from retlib.audit import Background
from retlib.comparison.boards import PIXELS, STRUCTURE, board, leaderboard, peer_row, power_table, quoted
from retlib.comparison.contenders import DATASETS, Contender
from retlib.comparison.own import goal_table
from retlib.comparison.peers import measured_peer
from retlib.comparison.times import pick_times
from retlib.study.tables import style


def show_boards(
    dataset: str,
    contenders: Sequence[Contender],
    own: Sequence[Contender] = (),
    benchmark: Mapping[str, float] | None = None,
) -> None:
    """Display the leaderboard of a data set as two tables: pixels; structure and cost.

    Args:
        dataset: retlib's name.
        contenders: what is ranked.
        own: networks of ours, shown below what is ranked, with the measured peer.
        benchmark: seconds of networks, see `times.load_benchmark`.
    """
    from IPython.display import display

    if not contenders:
        print("This profile has no run on this data set.")
        return
    name = DATASETS.get(dataset, dataset)
    times = pick_times(contenders, benchmark or {})
    for title, metrics, seconds in (
        ("pixels inside the FOV", PIXELS, None),
        ("structure and cost", STRUCTURE, times.label),
    ):
        caption = f"{name}, {title}. Mean over images, with the 95 % interval over images and seeds."
        frame = board(leaderboard(contenders, metrics, times), metrics, seconds)
        if own:
            ours = [board(leaderboard([item], metrics, times), metrics, seconds) for item in own]
            peer = pd.DataFrame([peer_row(measured_peer(), dataset, metrics, seconds is not None)])
            frame = pd.concat([frame, *ours, peer], ignore_index=True).astype(object)
            frame = frame.where(frame.notna(), None)
            caption += " The last lines stand beside the comparison, not in it."
        display(style(frame, caption))


def show_goals(own: Sequence[Contender], dataset: str = "drive") -> None:
    """Display our own networks against their goals and the measured peer."""
    from IPython.display import display

    if not own:
        print("This profile has no network of our own.")
        return
    caption = (
        "Our own networks on DRIVE against their goals; the peer's numbers are quoted. No number is rounded first."
    )
    display(style(goal_table(own, dataset), caption))


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
