"""What pages show, as pure functions of data: reports on runs, checks, evaluations, drift and comparisons, figures.

Nothing here reads a clock or a file, but for ``pictures``: it makes thumbnails of what a page will show while the
pictures are at hand. Stands on ``learn`` (its metrics), ``bundle`` (predictions), ``check``, ``fit`` (its
schedules), ``evaluate``, ``data``, ``recipe``, ``runtime`` and ``locale``.
"""
