"""A Keras model measured: measures, calibration, crops, Grad-CAM."""
