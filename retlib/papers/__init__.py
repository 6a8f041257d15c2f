"""Papers as data: one YAML a paper says what it reports, what it leaves open, and which runs stand beside it.

Adding a paper is adding a file. Reading one needs neither torch nor pandas.
"""

from retlib.study.loader import list_papers, load_paper

__all__ = ["list_papers", "load_paper"]
