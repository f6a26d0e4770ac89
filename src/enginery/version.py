"""The version of the package, and of the protocol its processes speak."""

__version__ = "0.1.0"

PROTOCOL = 7
"""Grows when a message changes its shape; peers of another number are refused in words."""
