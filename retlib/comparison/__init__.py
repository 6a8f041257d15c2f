"""One protocol for all: baselines, leaderboards, paired tests, figures, and the cost of protocol faults.

A comparison is a study's runs (`retlib.studies`) with what stands beside them: two filters and the second observer,
which are recorded as runs are, and published results, which are quoted.
"""

from __future__ import annotations

from retlib.comparison.baselines import BaselineConfig, baseline_configs, run_baseline, run_baselines
from retlib.comparison.boards import (
    METRICS,
    PIXELS,
    STRUCTURE,
    board,
    leaderboard,
    network_tests,
    observer_tests,
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
from retlib.comparison.filters import frangi_vesselness, matched_filter
from retlib.comparison.peers import Peer, list_peers
from retlib.comparison.rescoring import EpochsConfig, RescoredConfig, rescore, score_epochs
from retlib.comparison.statistics import Power, critical_difference, friedman, holm, paired_tests, power, signed_rank

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
    "Peer",
    "Power",
    "RescoredConfig",
    "all_costs",
    "baseline_configs",
    "best_by",
    "board",
    "critical_difference",
    "fault_configs",
    "fault_table",
    "frangi_vesselness",
    "friedman",
    "holm",
    "leaderboard",
    "list_peers",
    "make_fault_records",
    "matched_filter",
    "network_tests",
    "observer_tests",
    "open_comparison",
    "paired_tests",
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
