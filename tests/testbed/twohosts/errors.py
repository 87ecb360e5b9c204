"""The one error that the command line shows without a traceback."""


class BedError(Exception):
    """Something a user can read and act on."""
