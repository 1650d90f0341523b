"""The command line: parsed, checked, and errors of one line."""
