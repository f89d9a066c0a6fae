"""A running server as a command reaches it: by HTTP, as every other client does."""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from linarite.cli.data_folder import Announcement, DataFolder
from linarite.cli.loading import load_settings
from linarite.cli.refusals import Refused
from linarite.cli.serve import API_VERSION

_TIMEOUT_SECONDS = 60


class Client:
    """What calls the server.

    The one that the environment names, in the words that ``linarite env`` prints; or the one on a
    data folder, where that or a settings file is given or the environment names none.

    Args:
        data: the folder, if it was given.
        config: the settings file, if it was given.

    Raises:
        Refused: no server is named, or none runs on the folder.
    """

    def __init__(self, data: Path | None, config: Path | None) -> None:
        endpoint, key = (os.environ.get(f"AZURE_OPENAI_{name}") for name in ("ENDPOINT", "API_KEY"))
        verify: ssl.SSLContext | bool = True
        if data is None and config is None and endpoint and key:
            version = os.environ.get("OPENAI_API_VERSION", API_VERSION)
        else:
            folder = DataFolder(load_settings(config, data=data).data)
            found = _announced(folder)
            endpoint, key, version = found.endpoint, found.api_key, found.api_version
            if (authority := folder.authority()) is not None:
                verify = ssl.create_default_context(cafile=authority)
        self._endpoint = endpoint
        self._http = httpx.Client(
            base_url=endpoint,
            headers={"api-key": key},
            params={"api-version": version},
            timeout=_TIMEOUT_SECONDS,
            verify=verify,
        )

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """What is answered at `path`; raises Refused."""
        return self._answer("GET", path, params=query)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """What is answered to `body`; raises Refused."""
        return self._answer("POST", path, json=body)

    def put(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """What is answered to `body` put at `path`; raises Refused."""
        return self._answer("PUT", path, json=body)

    def delete(self, path: str) -> None:
        """Have what is at `path` removed; raises Refused."""
        self._answer("DELETE", path)

    def _answer(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **options)
            said = dict(answer.json()) if answer.content else {}
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Refused(f"The server at {self._endpoint} does not answer: {error}") from None
        except ValueError:
            raise Refused(f"What answers at {self._endpoint} is no server like this.") from None
        if answer.is_error:
            raise Refused(said.get("error", {}).get("message") or f"status {answer.status_code}")
        return said


def _announced(folder: DataFolder) -> Announcement:
    if (found := folder.announced()) is None:
        raise Refused(
            f"No server runs on {folder.path}. Start one: linarite serve; or say which one it is: "
            "--data, or AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_API_KEY."
        )
    return found
