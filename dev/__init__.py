"""Tools of the project: what checks, starts and measures it."""
