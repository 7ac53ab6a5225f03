"""What things cost: speed on this machine, measured so that anyone can repeat it."""
