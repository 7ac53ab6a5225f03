"""The systems that the paper compares TEINet with, as networks of one answer a clip."""
