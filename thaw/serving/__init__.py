"""Trained classifiers for other programs: exported, and checked by the runtimes that run them."""
