"""Video sources, one module per kind, and the JPEG encoder. Knows neither queue nor Redis."""
