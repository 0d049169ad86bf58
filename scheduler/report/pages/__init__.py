"""Holds the report that ``flowcert report`` writes: what its pages say, how they look, and the folder they lie in."""
