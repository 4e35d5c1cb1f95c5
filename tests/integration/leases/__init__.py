"""Leases of a group, on a real Valkey."""
