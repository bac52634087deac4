"""Options that were renamed before version 0.1.0. Old names are refused; the error says the new one."""

from kilat.locale import _

RENAMED = {
    "features.mirror": "features.flip_average",
    "head.strengths": "head.l2",
    "input.hold": "input.cache",
    "fit.blend": "fit.weight_interpolation",
    "fit.average": "fit.swa_epochs",
    "trust.false_alarms": "trust.false_positive_rate",
}
"""The new path of every old one."""


def renamed_sentence(name: str) -> str:
    """Return what is wrong with an old name, a full path or the end of one; nothing for any other name."""
    for old, new in RENAMED.items():
        if name == old or old.endswith(f".{name}"):
            return _("now called {new}").format(new=new)
    return ""
