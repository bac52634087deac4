"""The report: one self-contained HTML page about a trained classifier, and the figures in it."""
