"""Studies of our own: many runs under one protocol, described as a paper's runs are.

A study is a YAML file here: what it asks, its runs (in the form of :mod:`retlib.papers.plan`) and the seeds of each
data set. A study that searches is sealed: it cannot name an image of a test split, whatever its file says.
"""

from retlib.studies.study import ScheduledRun, Study, list_studies, load_study

__all__ = ["ScheduledRun", "Study", "list_studies", "load_study"]
