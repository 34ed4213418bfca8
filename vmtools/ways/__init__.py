"""The ways in: what carries port instructions of unmodified programs and guests to a model, and answers back."""
