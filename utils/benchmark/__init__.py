"""How fast, and how it grows, each module after those it imports.

`measure` (training, and how anything is timed) -> `inference`, `scale` (many machines),
`report` -> `figures`.
"""
