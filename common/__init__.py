"""Holds what the scheduler and the workers must agree on; imports neither and knows no torch."""
