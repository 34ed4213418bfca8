"""Transports: how a driver reaches a device model."""
