"""Commands for people: demo, status, planning, manifests, embedded Valkey. They may import every layer."""
