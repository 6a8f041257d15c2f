"""`retlib reproduce`: make the missing records of papers and studies, in order of value.

What is to be run, and in which order, is decided in :mod:`~retlib.reproduce.plan`; :mod:`~retlib.reproduce.run` maps it
over a `concurrent.futures.Executor`.
"""
