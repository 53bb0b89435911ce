"""Versions: found on disk, loaded, kept in a table, unloaded."""
