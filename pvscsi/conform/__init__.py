"""The conformance suite: what a PVSCSI adapter and the disks behind it owe their driver, rule by rule."""
