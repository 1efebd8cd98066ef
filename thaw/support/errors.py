"""The exception for a user's mistakes, and the advice for a damaged file."""


class ThawError(Exception):
    """Bad input or a failed environment.

    The message says what was wrong, where, what is allowed and what to do.

    A stage prints its message and ends with exit code 1, without a traceback.
    """


def remedy() -> str:
    """Return what to do about a damaged file that a stage made."""
    return (
        "Run `dvc repro` to make it again. If DVC reports no change, its cached copy may be "
        "damaged too: `python -m tools.verify_cache` names it and says how to replace it."
    )
