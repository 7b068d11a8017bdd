"""Further terms of the loss, one module each; see `matkit.train.extra_losses`."""
