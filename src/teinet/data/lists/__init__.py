"""Lists of clips: rows, labels, splits, annotations, and the formats they come in."""
