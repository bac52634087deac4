"""The figures of a stage in words: how much is done, how fast, how long it takes and will take."""

from kilat.locale import _, localized, ngettext
from kilat.runtime.progress import Stage

_WORTH_A_RATE = 1.0
"""Seconds; what took less has no rate worth naming."""
_WORTH_SECONDS = 0.5
"""A lower rate is named by the minute."""


def running(stage: Stage) -> str:
    """Return the figures beside a bar: how much of how much is done, rate and time left; else the time so far."""
    if not stage.total:
        return duration(stage.seconds)
    count = f"{localized(stage.done, ',')}/{localized(stage.total, ',')}"
    if stage.unit == "bytes":
        count = _("{done:,.1f}/{total:,.1f} MB").format(done=stage.done / 1e6, total=stage.total / 1e6)
    return ", ".join(filter(None, (count, rate(stage), time_left(stage))))


def how_far(stage: Stage) -> str:
    """Return how far a stage is: share, note, rate and time left, or the time where nothing is counted."""
    if not stage.total:
        return duration(stage.seconds)
    parts = [localized(stage.done / stage.total, ".0%"), stage.note, rate(stage), time_left(stage)]
    return ", ".join(filter(None, parts))


def outcome(stage: Stage) -> str:
    """Return what a stage came to: how much was done, how fast and in what time."""
    parts = [amount(stage), rate(stage) if stage.seconds >= _WORTH_A_RATE else "", duration(stage.seconds)]
    return ", ".join(filter(None, parts))


def amount(stage: Stage) -> str:
    """Return how much is done, of how much where that is not all; nothing where nothing is counted."""
    if not stage.total:
        return ""
    if stage.unit == "bytes":
        done, total = (localized(size / 1e6, ",.1f") for size in (stage.done, stage.total))
        sentence = _("{done} MB") if done == total else _("{done} of {total} MB")
        return sentence.format(done=done, total=total)
    if stage.done >= stage.total:
        return counted(stage.done, stage.unit)
    return _("{done:,} of {amount}").format(done=stage.done, amount=counted(stage.total, stage.unit))


def counted(number: int, unit: str) -> str:
    """Return a number with what is counted."""
    if unit == "networks":
        return ngettext("{count:,} network", "{count:,} networks", number).format(count=number)
    if unit == "trials":
        return ngettext("{count:,} trial", "{count:,} trials", number).format(count=number)
    if unit == "steps":
        return ngettext("{count:,} step", "{count:,} steps", number).format(count=number)
    return ngettext("{count:,} picture", "{count:,} pictures", number).format(count=number)


def rate(stage: Stage) -> str:
    """Return how many are done in a second; nothing where that cannot be said."""
    if stage.rate is None:
        return ""
    if stage.unit == "bytes":
        return _("{rate:,.1f} MB/s").format(rate=stage.rate / 1e6)
    if stage.rate < _WORTH_SECONDS:
        return _("{rate:,.1f}/min").format(rate=60 * stage.rate)
    return _("{rate:,.{digits}f}/s").format(rate=stage.rate, digits=0 if stage.rate >= 10 else 1)


def time_left(stage: Stage) -> str:
    """Return how long a stage will still take; nothing where that cannot be said."""
    left = stage.seconds_left
    return "" if left is None else _("{time} left").format(time=duration(left))


def duration(seconds: float) -> str:
    """Return a time in words, as exactly as it matters."""
    if seconds < 9.95:
        return _("{seconds:.1f} s").format(seconds=seconds)
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return _("{seconds} s").format(seconds=rest)
    if minutes < 60:
        return _("{minutes} min {seconds} s").format(minutes=minutes, seconds=rest)
    return _("{hours} h {minutes} min").format(hours=minutes // 60, minutes=minutes % 60)
