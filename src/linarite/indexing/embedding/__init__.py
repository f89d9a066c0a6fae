"""Vectors of texts: through a deployment of this server or an endpoint elsewhere."""
