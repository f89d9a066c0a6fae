"""The main job of a search client as programs written for its version 11.6 do it; prints as JSON.

    python -m tests.end_to_end.search_11_6.main_job ENDPOINT KEY AUTHORITY

runs with whichever client comes first on the path.
"""

import json
import sys

import azure.search.documents
from tests.support.search_job import main_job


def main(endpoint: str, key: str, authority: str) -> None:
    """Do it, over TLS: the client wants nothing else."""
    seen = main_job(endpoint, key, connection_verify=authority)
    print(json.dumps({"version": azure.search.documents.__version__, "seen": seen}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
