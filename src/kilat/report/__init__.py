"""What pages show, as pure functions of a run's data: the report on a classifier, the page about the data, figures.

Nothing here reads a clock or a file, but for ``pictures``: it makes thumbnails of what a page will show while the
pictures are at hand. Stands on ``learn`` (its metrics), ``check``, ``evaluate``, ``data``, ``recipe``, ``runtime`` and
``locale``.
"""
