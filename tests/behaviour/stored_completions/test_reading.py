"""Lists of stored completions by all that they can be filtered by, and their messages."""

import openai
import pytest

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "name": "anna",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "text", "text": "And that?"},
        ],
    },
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "a tree"},
]


def test_a_list_is_newest_first_and_pages_through_all_in_either_order(caller):
    made = [caller.store(f"{n}").id for n in range(5)]

    newest = [one.id for one in caller.sdk.chat.completions.list(limit=2)]
    oldest = [one.id for one in caller.sdk.chat.completions.list(limit=2, order="asc")]

    assert newest == made[::-1]
    assert oldest == made
    page = caller.page(limit=2)
    assert (page["first_id"], page["last_id"]) == (made[4], made[3])
    assert (page["total"], page["has_more"]) == (5, True)


def test_a_list_is_filtered_by_metadata_in_every_form(caller):
    both = caller.store(metadata={"run": "1", "kind": "a:b {c}"}).id
    run = caller.store(metadata={"run": "1"}).id
    caller.store(metadata={"run": "2"})
    caller.store()

    by_sdk = caller.sdk.chat.completions.list(metadata={"run": "1"})
    exact = caller.sdk.chat.completions.list(metadata={"run": "1", "kind": "a:b {c}"})

    assert [one.id for one in by_sdk] == [run, both]
    assert [one.id for one in exact] == [both]
    assert caller.ids(metadata='{"run": "1", "kind": "a:b {c}"}') == [both]
    assert caller.ids(metadata="run:1") == [run, both]
    assert caller.ids(metadata="kind:a:b {c}") == [both]
    assert caller.ids(metadata="run:3") == []
    assert caller.page(metadata="run:1")["total"] == 2
    assert caller.page(metadata='{"run": "1", "kind": "a:b {c}"}')["total"] == 1


def test_a_list_is_filtered_by_the_name_of_a_model_or_of_a_deployment(caller):
    one = caller.store(model="chat", metadata={"run": "1"}).id
    other = caller.store(model="other", metadata={"run": "1"}).id

    assert caller.ids(model="chat") == caller.ids(model="org/chat-model") == [one]
    assert caller.ids(model="org/other-model", **{"metadata[run]": "1"}) == [other]
    assert caller.page(model="other")["total"] == 1
    assert caller.ids(model="nobody") == []


def test_filtered_pages_come_to_the_whole(caller):
    wanted = [caller.store(f"{n}", metadata={"run": "1", "n": f"{n % 2}"}).id for n in range(6)]
    caller.store(metadata={"n": "0"})

    pages = caller.sdk.chat.completions.list(metadata={"run": "1", "n": "0"}, limit=1, order="asc")

    assert [one.id for one in pages] == wanted[::2]


@pytest.mark.parametrize(
    "query",
    [
        {"metadata": "nothing"},
        {"metadata": '{"a": 1}'},
        {"metadata": "{a}"},
        {"metadata[" + "k" * 65 + "]": "v"},
        {"after": "chatcmpl-nobody"},
        {"limit": "0"},
        {"order": "up"},
    ],
    ids=lambda query: next(iter(query))[:8],
)
def test_a_filter_that_nobody_understands_is_refused(caller, query):
    answer = caller.http.get("/openai/chat/completions", params=query)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalidPayload"


def test_clients_of_one_deployment_get_the_same_list(caller, server):
    made = caller.store().id
    key = caller.sdk.api_key

    with server.sdk(key=key, azure_deployment="other") as client, server.v1(key=key) as plain:
        assert [one.id for one in client.chat.completions.list()] == [made]
        assert client.chat.completions.retrieve(made).id == made
        assert [one.id for one in plain.chat.completions.list()] == [made]


def test_messages_are_those_that_the_model_was_sent(caller):
    made = caller.store(messages=MESSAGES).id

    system, user, assistant, tool = caller.sdk.chat.completions.messages.list(made, limit=3)

    assert (system.id, system.role, system.content) == (f"{made}-0", "system", "Be brief.")
    assert (user.name, user.content) == ("anna", "What is this?\nAnd that?")
    assert [part.text for part in user.content_parts] == ["What is this?", "And that?"]
    assert assistant.content is None
    assert assistant.tool_calls[0].function.name == "f"
    assert (tool.content, tool.tool_call_id) == ("a tree", "call_1")


def test_messages_are_paged_in_either_order(caller):
    made = caller.store(messages=MESSAGES).id
    url = f"/openai/chat/completions/{made}/messages"

    last = caller.http.get(url, params={"order": "desc", "limit": 3}).json()
    first = caller.http.get(url, params={"order": "desc", "after": last["last_id"]}).json()

    assert [one["id"] for one in last["data"]] == [f"{made}-3", f"{made}-2", f"{made}-1"]
    assert [one["id"] for one in first["data"]] == [f"{made}-0"]
    assert (last["total"], last["has_more"], first["has_more"]) == (4, True, False)
    assert caller.http.get(url, params={"after": "nobody"}).status_code == 400


def test_a_long_chat_is_read_back_whole(caller):
    """Long ones are compressed where they lie."""
    said = " ".join(["words"] * 1_000)

    made = caller.store(f"[[say {said}]]").id

    assert caller.sdk.chat.completions.retrieve(made).choices[0].message.content == said
    [message] = caller.sdk.chat.completions.messages.list(made)
    assert message.content == f"[[say {said}]]"


def test_what_another_resource_stored_does_not_exist(caller, server):
    made = caller.store(metadata={"run": "1"}).id
    with server.sdk(key=server.add_key("stranger")) as stranger:
        chats = stranger.chat.completions

        assert list(chats.list(metadata={"run": "1"})) == []
        for call in (chats.retrieve, chats.delete, chats.messages.list):
            with pytest.raises(openai.NotFoundError):
                call(made)
        with pytest.raises(openai.NotFoundError):
            chats.update(made, metadata={"run": "2"})

    assert caller.ids(metadata="run:1") == [made]
