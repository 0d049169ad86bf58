"""Holds the one error of the decoder process; it stands alone, for that process imports nothing of ``common``."""


class RefusedError(Exception):
    """The video cannot be used; the text is one line for the user, without the file's name."""
