"""Linarite: the Azure OpenAI authoring API over your own models."""

__version__ = "0.1.0"
