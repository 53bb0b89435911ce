"""Runs and recipes: the folder that training writes and everything after it reads."""
