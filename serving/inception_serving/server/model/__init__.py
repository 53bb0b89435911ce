"""One loaded model: its SavedModel, its calls, its warm-up."""
