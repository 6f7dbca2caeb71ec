"""A trained network as an ONNX file: export, quantisation, running, streaming, footprint."""
