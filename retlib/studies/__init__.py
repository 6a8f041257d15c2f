"""Studies of our own, as data: one YAML a study says what it asks, its runs, and the seeds of each data set.

The runs have the form of a paper's (:mod:`retlib.study.plan`). A study that searches is sealed: it cannot name an image
of a test split, whatever its file says.
"""

from retlib.study.loader import list_studies, load_study

__all__ = ["list_studies", "load_study"]
