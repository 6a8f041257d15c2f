"""Models, preprocessing, metrics and protocols for re-running retinal vessel segmentation studies.

The names below are loaded when they are first used, so that importing the package is cheap::

    import retlib

    sample = retlib.load_dataset("phantom", split="test")[0]
    probabilities = retlib.predict_vessels(sample.image)
    retlib.evaluate(probabilities, sample.vessels, fov=sample.fov)
"""

from retlib.lazy import lazy_names

__version__ = "0.1.0"
_PLACES = {
    "load_dataset": "retlib.data",
    "list_datasets": "retlib.data",
    "build_model": "retlib.models",
    "list_models": "retlib.models",
    "fit": "retlib.training",
    "predict_logits": "retlib.inference",
    "predict_vessels": "retlib.predict",
    "evaluate": "retlib.metrics",
    "load_paper": "retlib.papers",
    "list_papers": "retlib.papers",
}
__all__ = list(_PLACES)
__getattr__, __dir__ = lazy_names(__name__, _PLACES)
