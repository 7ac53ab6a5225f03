"""Export of recognizers to files that run without this library: ONNX, OpenVINO, a page for browsers."""
