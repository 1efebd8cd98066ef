"""How thaw holds up: each module prints a table, which docs/reliability.md shows."""
