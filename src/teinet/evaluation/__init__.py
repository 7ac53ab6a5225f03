"""Evaluation: the test loop, scores, ensembles, segments, speed."""
