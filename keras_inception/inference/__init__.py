"""Answers from a run, an export, a server or a published network, all asked alike."""
