"""Flows: what each service does. A flow may import adapters, base and domain, but no other flow."""
