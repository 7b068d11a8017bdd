"""Properties of whole structures: reading what is known of them, and predicting the rest."""
