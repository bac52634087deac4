"""Write how the weights of runs are distributed into weights.json. Usage: python weights.py runs/none runs/l2."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

found = {}
for run in map(Path, sys.argv[1:]):
    tensors = onnx.load(run / "model.onnx").graph.initializer
    kernels = [numpy_helper.to_array(one) for one in tensors if one.name.startswith("network.") and len(one.dims) > 1]
    weights = np.concatenate([kernel.ravel() for kernel in kernels])
    counts, _edges = np.histogram(weights, np.linspace(-0.3, 0.3, 62))
    found[run.name] = {
        "shares": (counts / len(weights)).round(5).tolist(),  # of 61 bins from -0.3 to 0.3
        "near_zero": round(float((abs(weights) < 0.001).mean()), 4),
        "deviation": round(float(weights.std()), 4),
    }
Path("weights.json").write_text(json.dumps(found), "utf-8")
