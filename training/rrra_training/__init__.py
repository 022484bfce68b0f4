"""Training and evaluation of RRRA models: data readers, recipes, metrics."""
