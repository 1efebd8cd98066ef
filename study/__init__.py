"""Sets of experiments that answer one question each, by DVC's queue; the results are in git."""
