"""The networks, one file each, in the words of ``models/layers.py`` and named after the network.

A file ends in its builder, made of its row in ``models/catalogue.py`` and its body.
"""
