"""How good a classifier is: metrics with their intervals, calibration, conformal sets, out of distribution, drift.

Stands on ``recipe`` and ``runtime``. ``metrics``, ``calibration`` and ``conformal`` need NumPy alone: the predictor
works with them.
"""
