"""The command `teinet`: a file for each command, which declares options, calls the library and prints."""
