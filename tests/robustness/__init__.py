"""Faults on purpose: damaged files, kills, full disks. ``python -m tests.robustness`` counts them for the book."""
