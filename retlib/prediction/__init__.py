"""Vessels of any fundus photograph: the networks that come with retlib, applied to a file or a folder.

.. code-block:: python

    from retlib.prediction import load_predictor, read_photograph

    predictor = load_predictor()
    result = predictor(read_photograph("photo.jpg"))
    result.vessels, result.fov, result.probabilities
"""

from __future__ import annotations

from retlib.prediction.fov import find_fov
from retlib.prediction.fundus import FundusCheck, NotAFundusError, check_fundus, measure_fundus
from retlib.prediction.photographs import PhotographError, read_photograph
from retlib.prediction.predictor import Prediction, Predictor, load_predictor
from retlib.prediction.shipping import MemberCard, ModelCard, ship
from retlib.study.weights import WeightsError as WeightsError  # described there

__all__ = [
    "FundusCheck",
    "MemberCard",
    "ModelCard",
    "NotAFundusError",
    "PhotographError",
    "Prediction",
    "Predictor",
    "check_fundus",
    "find_fov",
    "load_predictor",
    "measure_fundus",
    "read_photograph",
    "ship",
]
