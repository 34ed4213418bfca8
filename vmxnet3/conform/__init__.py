"""The conformance suite for VMXNET3: what a device owes its driver, judged by the reference driver."""
