"""Comparisons of runs with each other and with the paper, read from the runs' folders."""

from teinet.report.compare import Comparison, compare

__all__ = ["Comparison", "compare"]
