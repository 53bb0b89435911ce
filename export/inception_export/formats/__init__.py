"""Files of other engines than TensorFlow: ONNX, LiteRT and OpenVINO, by Keras's own exporters."""
