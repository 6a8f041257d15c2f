"""Errors of the data sets; a message names the file, what was expected and what to do."""

from __future__ import annotations


class DataError(ValueError):
    """A file of a data set is there, but is not what it has to be."""


class DataMissingError(DataError, FileNotFoundError):
    """A folder or file of a data set is not there."""
