"""Web pages, fetched within limits and saved in a container."""
