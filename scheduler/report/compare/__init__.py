"""Compares two jobs on the clips that both have."""
