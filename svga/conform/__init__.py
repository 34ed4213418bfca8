"""The conformance suite: what a display owes its driver, rule by rule."""
