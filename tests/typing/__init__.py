"""Files that mypy checks and nothing runs, as examples of the typed API."""
