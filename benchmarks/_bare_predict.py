"""The bare script that benchmarks/startup.py compares with: opens a model file, decodes a photo, runs it, prints.

Arguments: the model, the photo, and how many threads the session gets (ONNX Runtime's own choice without it).
"""

import sys

import numpy as np
import onnxruntime as ort
from PIL import Image

options = ort.SessionOptions()
if len(sys.argv) > 3:
    options.intra_op_num_threads = int(sys.argv[3])
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
with Image.open(sys.argv[2]) as image:
    pixels = np.asarray(image.convert("RGB"))
print(session.run(["probabilities"], {"image": pixels[None]})[0].tolist())
