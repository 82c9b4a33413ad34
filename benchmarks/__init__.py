"""Figures that others can repeat."""
