"""The model: the encoders it starts from, its head, the baseline, and models that others saved."""
