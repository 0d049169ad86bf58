"""Holds the history of the database (versions) and its current views and functions; shipped for upgrades."""
