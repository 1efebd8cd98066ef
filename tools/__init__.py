"""What people and CI run around the pipeline; the pipeline itself needs none of it."""
