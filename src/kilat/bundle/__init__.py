"""The finished classifier as one ONNX file: assembled, described, checked for safety and parity, and used.

Stands on ``evaluate``, ``probe``, ``features``, ``data``, ``recipe`` and ``runtime``. The predictor needs NumPy, ONNX
Runtime and Pillow alone.
"""
