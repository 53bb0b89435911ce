"""Weights from anywhere: tables of names, readers, writers, downloads."""
