"""The web service, each module after those it imports.

`schemas`, `metrics` -> `engine` (computes) -> `guard`, `api` (answers) -> `server` (listens) ->
`process`, `load`, `report` (start it, burden it, and say what that showed).
"""
