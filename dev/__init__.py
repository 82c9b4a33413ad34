"""Tools of the project: what checks it, and what starts local stacks for demo, tests and benchmarks."""
