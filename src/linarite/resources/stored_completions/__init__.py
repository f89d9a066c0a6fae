"""Stored completions: chats that were asked to be kept, listed by their metadata and model."""
