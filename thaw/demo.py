"""Show the trained classifiers on a page of this machine: python -m thaw.demo [--port 8000].

Drop a picture there and see what ResNet50 said before, and what the three modes say after. No other
machine can open the page, and nothing leaves this one. `make demo` installs what it needs.
"""

import argparse
import sys

import joblib

from thaw.serving.page import FIRST_PORT, check_installed, listen, serve, settle
from thaw.support.errors import ThawError
from thaw.support.stage import explain


def main() -> int:
    """Serve the page until Ctrl-C; a user's mistake ends the process with one message."""
    port = _options().port
    settle()
    try:
        check_installed()
        with listen(port) as ours:
            print("Loading the networks, which takes up to a minute..", flush=True)
            # TensorFlow takes seconds to load, so what is quick to check goes first.
            from thaw.serving.answers import load_witnesses
            from thaw.support.runtime import set_up

            set_up(threads=joblib.cpu_count())
            serve(ours, load_witnesses())
    except ThawError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {explain(error)}")
    except KeyboardInterrupt:
        return 130
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m thaw.demo", description=__doc__)
    parser.add_argument(
        "--port", type=_port, help=f"instead of the first free one from {FIRST_PORT} on"
    )
    return parser.parse_args()


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be 0 to 65535. Received: {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
