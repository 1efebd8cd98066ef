"""Training: batches, optimizers, checkpoints, fitting, the activation cache, the three modes."""
