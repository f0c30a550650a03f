"""Predictions: of texts, of files, of folders of files."""
