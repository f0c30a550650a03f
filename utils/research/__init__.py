"""More from the same labels, each module after those it imports.

`steps` -> `unlabelled` -> `adapt`, `teaching`, `scores` (what a step does) -> `runs` (what is
there) -> `commands` (what makes it); `tables` -> `students`, `costs` -> `ladder` -> `figures`
(what the results say).
"""
