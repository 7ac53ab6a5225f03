"""The best answer of a frozen backbone: features of clips, computed once, and linear heads compared by folds."""
