"""Metrics with their intervals, the baseline, the diagnosis."""
