"""From files to clips: decoding, sampling, transforms, lists of clips, the embedded data set."""
