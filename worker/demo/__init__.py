"""Holds a rendered dataset of moving shapes and a classifier trained on it, so that Flowcert runs without any file."""
