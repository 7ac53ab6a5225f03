"""What a network did with a clip, as pictures: where it looked, what its gates let pass, how its kernels mix time."""
