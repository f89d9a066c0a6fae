"""Tuning jobs: models that learn, and what comes of it."""
