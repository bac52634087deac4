"""Words of other libraries (Keras, PyTorch, fastai, Ultralytics and others), and what a recipe says instead.

Stands on the sections of the recipe. ``layer_words``, ``part_words``, ``option_words`` and ``value_words`` are tables;
``translate`` reads them where a recipe was refused.
"""
