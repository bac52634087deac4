"""Augmentation: random changes of training pictures, on whatever device they are. Stands on recipe and model alone."""
