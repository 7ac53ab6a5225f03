"""Helpers that the whole package uses: files, signals, progress bars, worker processes."""
