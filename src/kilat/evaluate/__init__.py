"""How good a classifier is: its measures with their intervals, and the calibration of its probabilities."""
