"""A network in int8, of TensorFlow's own quantized operations, which any TF Serving on x86 has.

The network is recorded as calls of layers (``program.py``); each call that int8 can do becomes a
step (``plan.py``); ranges come from images (``statistics.py``, ``calibration.py``); the steps are
run by one function a kind of layer (``network.py``, ``operations.py``).
"""
