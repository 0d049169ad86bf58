"""Holds the processes a worker starts as, and what each of them is wired from."""
