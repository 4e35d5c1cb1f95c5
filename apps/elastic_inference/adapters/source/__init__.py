"""Video sources, one module per kind, and the JPEG encoder. Independent of the queue and Redis."""
