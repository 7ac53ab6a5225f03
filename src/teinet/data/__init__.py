"""From files to clips: decode, sampling, transforms, lists of clips, the embedded data set. Knows no model."""
