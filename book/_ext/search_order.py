"""Rank pages before names of the library in the results of a search, by ``search_scorer.js``."""

from __future__ import annotations

from pathlib import Path

SCORER = Path(__file__).with_name("search_scorer.js")


def setup(app):
    """Name the file by its whole path: Sphinx would look for it in the working folder."""
    app.connect("config-inited", lambda app, config: setattr(config, "html_search_scorer", str(SCORER)))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
