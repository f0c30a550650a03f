"""Helpers of the notebooks: each module does one thing and imports only those before it.

`settings`, `results` -> `text` -> `sources` -> `data` -> `model` -> `training` -> `inference`
-> `evaluation` -> `figures` -> `export`
"""
