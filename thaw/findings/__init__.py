"""The metrics and their confidence intervals, the baseline, and the diagnosis."""
