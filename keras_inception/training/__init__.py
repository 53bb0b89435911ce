"""Training: the recipe, the run, ``model.fit`` and its evaluation."""
