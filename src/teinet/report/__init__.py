"""Runs compared with each other and with the paper: read from their folders, put in one table or on one page."""

from teinet.report.compare import Comparison, compare

__all__ = ["Comparison", "compare"]
