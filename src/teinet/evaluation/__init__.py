"""How well a network does: the loop of a test, scores, ensembles, segments, speed."""
