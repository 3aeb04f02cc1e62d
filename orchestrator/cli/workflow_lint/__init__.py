"""Reads workflows as GitHub does, and says which of their jobs get no runner here, or the wrong one.

`document` reads YAML, `expression` what stands in `${{ }}`, `matrix` the combinations, `workflow` the jobs. `rules`
says what becomes of one job, `linter` asks that of every job, also of called workflows, and `report` shows it. All are
pure. `sources` reads the files.
"""
