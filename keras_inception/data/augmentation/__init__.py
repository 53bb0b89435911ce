"""Augmentation: its settings, crops, colour, RandAugment, mixing."""
