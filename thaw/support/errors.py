"""The one exception that a user's mistake raises, and what brings back a damaged file."""


class ThawError(Exception):
    """Bad input or a failed environment: what was wrong, where, what is allowed, what to do.

    A stage prints its message and ends with exit code 1, without a traceback.
    """


def remedy() -> str:
    """Return what to do about a damaged file that a stage made."""
    return (
        "Run `dvc repro` to make it again. If DVC takes it for unchanged, its own copy may be "
        "damaged, too: `python -m tools.verify_cache` names it and what replaces it."
    )
