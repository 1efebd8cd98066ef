"""The environment that tests run in, whatever the shell has: conftest.py imports this first.

What is not named here is removed: a list of what could do harm would never be complete. GIT_DIR, as
git's hooks have it, would make tests commit into the repository that they are started from.
"""

import os
from collections.abc import MutableMapping
from pathlib import Path

KEPT = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TMPDIR"),
        *("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES"),
        *("THAW_BROWSER", "THAW_FASHION_MNIST"),  # conftest.py takes the latter from fast tests
        # The way to package registries, for slow tests.
        *("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"),
        *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"),
    }
)
KEPT_FAMILIES = ("PIP_", "UV_", "SSL_CERT_", "npm_config_", "PYTEST_", "COV")
NO_CONFIG = str(Path(__file__).parent)
DECIDED = {
    "LC_ALL": "C.UTF-8",
    # Mirrors and pages of tests are served here, which no proxy reaches.
    "no_proxy": "127.0.0.1,localhost",
    "NO_PROXY": "127.0.0.1,localhost",
    # Not the user's: signed commits, hooks, line endings. But the checkout may be another user's.
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
    # Nor a cache that the user shares with others.
    "DVC_GLOBAL_CONFIG_DIR": NO_CONFIG,
    "DVC_SYSTEM_CONFIG_DIR": NO_CONFIG,
}


def clean(variables: MutableMapping[str, str]) -> None:
    """Leave what tests need, and set what decides."""
    for name in list(variables):
        if name not in KEPT and not name.startswith(KEPT_FAMILIES):
            del variables[name]
    variables.update(DECIDED)


clean(os.environ)
