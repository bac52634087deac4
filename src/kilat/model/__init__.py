"""Networks in PyTorch: timm backbones as ONNX, and the same ones run on a GPU. Needs the extra ``torch``."""
