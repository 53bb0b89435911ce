"""The model card of an export: what is known of the model, for who is to use it."""
