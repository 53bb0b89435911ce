"""Predictions of image files by a model on a server, or by whatever else predicts."""
