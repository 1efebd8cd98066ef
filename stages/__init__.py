"""The stages of dvc.yaml, one module each. A stage reads its inputs, calls thaw and writes."""
