"""Rate limiter that all processes of a host share."""
