"""Segment the vessels of any fundus photograph with the network that comes with retlib.

The names below are imported when they are first used, so that ``retlib --help`` does not load torch.

.. code-block:: python

    from retlib.predict import load_predictor, read_photograph

    predictor = load_predictor()
    result = predictor(read_photograph("photo.jpg"))
    result.vessels, result.fov, result.probabilities
"""

from retlib.lazy import lazy_names

_MODULES = {
    "doubts": ("find_doubts", "measure_quality"),
    "fov": ("find_fov",),
    "fundus_check": ("FundusCheck", "NotAFundusError", "check_fundus", "measure_fundus"),
    "photographs": ("PhotographError", "read_photograph"),
    "predictor": ("Prediction", "Predictor", "load_predictor", "predict_vessels"),
    "weights": ("ModelCard", "WeightsError"),
}
_PLACES = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}
__all__ = list(_PLACES)
__getattr__, __dir__ = lazy_names(__name__, _PLACES)
