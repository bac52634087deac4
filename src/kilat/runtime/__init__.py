"""The machine: cores, files written whole, the timer, progress, extras. Stands on errors and locale alone."""
