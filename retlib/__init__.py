"""retlib: models, preprocessing, metrics and protocols for re-running retinal vessel segmentation studies.

Importing the package is cheap: the numerical stack (torch, OpenCV, pandas) is loaded by the modules that need it.
"""

__version__ = "0.1.0"
