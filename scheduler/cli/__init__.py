"""Holds the command line: one file a command; the only place that writes to a user's terminal."""
