"""More from the same labels, each module after those it imports.

`steps` -> `unlabelled` -> `adapt`, `teaching` (what a step does), `scores` -> `runs` (one step,
whole), `tables` -> `ladder` -> `figures` (what the saved results say).
"""
