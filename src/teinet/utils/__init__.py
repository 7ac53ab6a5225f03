"""What every room uses: files, signals, progress, worker processes."""
