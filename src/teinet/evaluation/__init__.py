"""Testing: scores of clips, the numbers that follow from them, tables and pictures."""

from teinet.evaluation.scores import Scores

__all__ = ["Scores"]
