"""The HTTP service: routes, batches, and the server in front of them."""
