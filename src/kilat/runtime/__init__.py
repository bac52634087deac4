"""The machine: cores, files written whole, the clock, progress, installed extras. Stands on nothing but errors and locale."""
