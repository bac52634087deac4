"""From what the user has to labelled pictures, each accounted for: source, catalog, decode, split.

Stands on runtime, locale and errors alone.
"""
