"""Experiments: more accuracy from the same labels."""
