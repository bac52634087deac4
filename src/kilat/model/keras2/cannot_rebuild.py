"""What makes a model of Keras 2 impossible to rebuild."""


class CannotRebuildError(Exception):
    """A part of a model that has no counterpart here; the message is one clause that names it."""
