"""What the ledger raises."""


class Broken(AssertionError):
    """A promise to the user was not kept."""
