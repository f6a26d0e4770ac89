"""Longer runs, by `make nightly`: an hour at most. What they find is a table at the end."""
