"""The mark of sentences that are translated elsewhere than where they stand."""


def N_(message: str) -> str:  # noqa: N802 - gettext's usual name for it
    """Mark a sentence for translators where it stands in a table; whoever shows it calls ``kilat.locale._``."""
    return message
