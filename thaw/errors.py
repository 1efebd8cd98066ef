"""The one exception for everything that a user can put right."""


class ThawError(Exception):
    """Bad input or a failed environment: what was wrong, where, what is allowed, what to do.

    A stage prints its message and ends with exit code 1, without a traceback.
    """
