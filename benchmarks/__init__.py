"""Figures that others can repeat: ``make bench``, or ``python -m benchmarks``. See ``docs/benchmarks.md``."""
