"""The API is killed the moment an answer is whole: what it said is stored, and found at once."""

import json

import pytest
from tests.support.crashing import Crashing, client_of
from tests.support.running_engine import scripted_engine
from tests.support.serving import serving

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

URL = "/openai/deployments/chat/chat/completions"


def ask(client, number, *, stream):
    """The id of a stored answer, as it came."""
    message = {"role": "user", "content": f"question {number}"}
    body = {"messages": [message], "store": True, "metadata": {"number": f"{number}"}}
    answer = client.post(URL, json=body | {"stream": stream})
    text = answer.text
    if not stream:
        return json.loads(text)["id"]
    assert text.endswith("data: [DONE]\n\n")
    return json.loads(text.partition("\n")[0].removeprefix("data: "))["id"]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_what_was_answered_is_stored_though_the_api_is_killed_that_moment(tmp_path, request, kind):
    """On SQLite the loop's own thread stores, on PostgreSQL another one."""
    environment = {}
    if kind == "postgres":
        environment["LINARITE_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    with scripted_engine(tmp_path / "engine") as engine:
        config = tmp_path / "linarite.toml"
        config.write_text(
            f'[[models]]\nid = "m"\nupstream = {{ base_url = "{engine.base_url}" }}\n'
            '[[deployments]]\nname = "chat"\nmodel = "m"\n'
        )
        with serving(tmp_path / "served", "--config", str(config), **environment) as running:
            crashing = Crashing(running)
            for number in range(6):
                with client_of(running) as client:
                    made = ask(client, number, stream=number % 2 == 1)
                    crashing.kill("api", "after an answer")
                crashing.recover()
                with client_of(running) as client:
                    stored = client.get(f"/openai/chat/completions/{made}").json()
                    found = client.get(
                        "/openai/chat/completions", params={"metadata": f"number:{number}"}
                    ).json()

                assert stored["choices"][0]["message"]["content"] == f"Answer to: question {number}"
                assert [one["id"] for one in found["data"]] == [made]
                assert found["total"] == 1
