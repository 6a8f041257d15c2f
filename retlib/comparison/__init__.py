"""One protocol for all: baselines, leaderboards, paired tests, figures, and the cost of protocol faults.

A comparison is a study's runs (`retlib.studies`) with what stands beside them: two filters and the second observer,
which are recorded as runs are, and published results, which are quoted.
"""

from __future__ import annotations

from retlib.comparison.boards import (
    METRICS,
    PIXELS,
    STRUCTURE,
    board,
    leaderboard,
    network_tests,
    observer_tests,
    per_image_values,
    power_table,
    quoted,
)
from retlib.comparison.contenders import (
    DATASETS,
    MODEL_TITLES,
    Comparison,
    Contender,
    best_by,
    open_comparison,
    with_records,
)
from retlib.comparison.faults import FAULTS, Cost, all_costs, fault_configs, fault_table, make_fault_records
from retlib.comparison.own import goal_table, own_networks
from retlib.comparison.peers import Goal, Peer, list_goals, list_peers, measured_peer
from retlib.comparison.surround import blanked_frame, found_outside
from retlib.comparison.times import Times, load_benchmark, pick_times
from retlib.study.baselines import BaselineConfig, baseline_configs, run_baseline, run_baselines
from retlib.study.config import EpochsConfig, RescoredConfig
from retlib.study.filters import frangi_vesselness, matched_filter
from retlib.study.rescore import rescore, score_epochs
from retlib.study.statistics import Power, critical_difference, friedman, holm, paired_tests, power, signed_rank

__all__ = [
    "DATASETS",
    "FAULTS",
    "METRICS",
    "MODEL_TITLES",
    "PIXELS",
    "STRUCTURE",
    "BaselineConfig",
    "Comparison",
    "Contender",
    "Cost",
    "EpochsConfig",
    "Goal",
    "Peer",
    "Power",
    "RescoredConfig",
    "Times",
    "all_costs",
    "baseline_configs",
    "best_by",
    "blanked_frame",
    "board",
    "critical_difference",
    "fault_configs",
    "fault_table",
    "found_outside",
    "frangi_vesselness",
    "friedman",
    "goal_table",
    "holm",
    "leaderboard",
    "list_goals",
    "list_peers",
    "load_benchmark",
    "make_fault_records",
    "matched_filter",
    "measured_peer",
    "network_tests",
    "observer_tests",
    "open_comparison",
    "own_networks",
    "paired_tests",
    "per_image_values",
    "pick_times",
    "power",
    "power_table",
    "quoted",
    "rescore",
    "run_baseline",
    "run_baselines",
    "score_epochs",
    "signed_rank",
    "with_records",
]
