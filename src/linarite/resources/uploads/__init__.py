"""Uploads: a file in parts, each durable by itself, that becomes one without being copied."""
