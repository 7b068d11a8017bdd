"""Model files, models by name, and what can be done to a model without training it."""
