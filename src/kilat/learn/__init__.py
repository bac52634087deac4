"""The ways to learn, each giving a ``Learned``: a head on a frozen backbone, a network from scratch, fine-tuning.

Then what makes an answer trustworthy (prediction sets, the detector of unknown pictures), and the time budget.
Stands on bundle, check, fit, model, probe, features, evaluate, data, recipe and runtime.
"""
