"""Runs beside each other and beside the paper: read from their folders, compared, put on one page."""

from teinet.report.compare import Comparison, compare

__all__ = ["Comparison", "compare"]
