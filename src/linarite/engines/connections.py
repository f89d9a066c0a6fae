"""The connections of one event loop to engines: sockets on this machine, and upstreams."""

import asyncio
from pathlib import Path

import aiohttp

from linarite.engines.posting import Posts

CONNECT_SECONDS = 5.0
_KEPT_UPSTREAM_SECONDS = 4.0
"""Idle connections are dropped before uvicorn's five seconds, after which it would drop them."""
KEPT_EMBEDDED_SECONDS = 60.0
"""How long an idle connection may be used again; an engine that leaves waits for that."""


class Connections:
    """One pool for each place, made when it is first needed; close them at the end."""

    def __init__(self) -> None:
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._posts: dict[str, Posts] = {}

    async def close(self) -> None:
        """Close every connection."""
        for posts in self._posts.values():
            posts.close()
        self._posts.clear()
        sessions, self._sessions = list(self._sessions.values()), {}
        await asyncio.gather(*(session.close() for session in sessions))

    def to_socket(self, socket: Path) -> aiohttp.ClientSession:
        """A general client of what listens on a Unix socket."""
        key = str(socket)
        if key not in self._sessions:
            self._sessions[key] = _session(
                aiohttp.UnixConnector(key, limit=0, keepalive_timeout=KEPT_EMBEDDED_SECONDS)
            )
        return self._sessions[key]

    def to_upstreams(self) -> aiohttp.ClientSession:
        """A general client of addresses that the operator named."""
        if "upstream" not in self._sessions:
            self._sessions["upstream"] = _session(
                aiohttp.TCPConnector(
                    limit=0, keepalive_timeout=_KEPT_UPSTREAM_SECONDS, ttl_dns_cache=60
                )
            )
        return self._sessions["upstream"]

    def posts_on(self, socket: Path) -> Posts:
        """Connections for whole answers of an engine on a Unix socket."""
        key = str(socket)
        if key not in self._posts:
            self._posts[key] = Posts("http://engine/v1", KEPT_EMBEDDED_SECONDS, socket)
        return self._posts[key]

    def posts_to(self, base_url: str) -> Posts:
        """Connections for whole answers of an upstream."""
        if base_url not in self._posts:
            self._posts[base_url] = Posts(base_url, _KEPT_UPSTREAM_SECONDS)
        return self._posts[base_url]


def _session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout()
    )
