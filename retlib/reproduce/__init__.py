"""`retlib reproduce`: all missing runs of papers and studies, in order of value, within a budget of time.

The order is in :mod:`~retlib.reproduce.order`, the clock and the choice of the next run in
:mod:`~retlib.reproduce.budget`, the time that a run takes in :mod:`~retlib.reproduce.estimates`, the places that runs
are made in :mod:`~retlib.reproduce.lanes` and :mod:`~retlib.reproduce.cluster`, and the loop over all of it in
:mod:`~retlib.reproduce.driver`.
"""
