"""The finished classifier as one ONNX file: what stands in it, how it is written, checked and used."""
