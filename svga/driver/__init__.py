"""The reference driver of the display: a second witness, sharing names and numbers with the model, nothing else."""
