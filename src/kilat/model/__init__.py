"""Networks in PyTorch (extra ``torch``): built from recipes, or timm's, whole, cut into parts, summarised, as ONNX.

Stands on ``probe`` (the fitted head that fine-tuning starts from), ``features`` (embedded weights, the layout of
features), ``data`` (directories of archives), ``recipe``, ``runtime``, ``locale`` and ``errors``. ``backbones`` and
``registry`` import torch and timm only where they are used; everything else here imports torch.
"""

from kilat.runtime.openmp import wait_asleep

wait_asleep()
