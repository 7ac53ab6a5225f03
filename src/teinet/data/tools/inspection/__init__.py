"""What a list was understood to be, and how a sample of its clips is: for a terminal, as JSON, as a page."""
