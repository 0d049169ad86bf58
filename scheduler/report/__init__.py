"""Holds what users are shown of jobs: rows of the views, and the tables, files and pictures made of them."""
