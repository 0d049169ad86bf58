"""Decides what is explored next and what the results prove; never computes on a GPU."""
