"""Hostile inputs of every kind that kilat reads, made by code, and a harness that measures what they do to a process.

Every case is a small function; nothing is stored and nothing foreign is needed. ``case`` says what a case is, the other
modules hold them by format: pictures (``png``, ``jpeg``, ``tiff``, ``webp_avif``, ``old_formats``, ``odd_files``),
``archives``, ``tables`` and ``graphs`` (model files); ``odd_places`` are commands in which a file is none. ``floods``
reads mutants of good files. ``watch`` runs a command and measures memory and time; ``judge`` says what is wrong.
"""
