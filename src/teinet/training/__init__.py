"""Training: the typed recipe, one step, and the folder that a run leaves."""
