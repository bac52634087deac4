"""Gradient training: loaders, augmentation, losses, optimizers, schedules, checkpoints and the loop over them.

``prepare`` makes a ``TrainingRun``, which trains a network and returns it as ``Trained``. Stands on runtime, data,
recipe, features, probe and model. Imports torch.
"""

from kilat.runtime.openmp import use_available_cores, wait_asleep

use_available_cores()
wait_asleep()
