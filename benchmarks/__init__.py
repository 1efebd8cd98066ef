"""thaw against the naive way, side by side: see README.md beside this file."""
