"""The command `teinet`: one file a command; each parses, calls, prints."""
