"""Stored completions as examples of a training file; what is left out, and what is told of it."""

from dataclasses import replace

import openai
import pytest
import sqlalchemy as sa
from openai.types import FileObject
from tests.support.files import error_of, objects
from tests.support.stored import EXPORT, export, made, perform, put, read, start

from linarite.errors import QuotaExceeded
from linarite.resources.files.service import Files
from linarite.resources.files.sweeping import drop_leftovers
from linarite.resources.stored_completions.exporting import Exports
from linarite.resources.stored_completions.service import StoredCompletions
from linarite.storage.tables import stored_completion_exports
from linarite.tasks.tickets import TickTicket
from linarite.wire.stored_completions import StoredCompletionExport

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


def turns(question: str, answer: str) -> dict[str, list[dict[str, str]]]:
    return {
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
    }


def running_exports(server) -> int:
    with server.built.database.reading() as connection:
        query = sa.select(sa.func.count()).select_from(stored_completion_exports)
        return connection.execute(query).scalar_one()


def test_stored_chats_become_a_training_file_by_a_worker(caller, server):
    for number in range(12):
        caller.store(f"[[say Arr {number}]]", metadata={"run": "pirate"})
    caller.store("[[say Hello]]")
    body = {"metadata": {"run": "pirate"}, "order": "asc"}

    with server.working():
        pending = caller.sdk.post("/stored_completions/export", cast_to=FileObject, body=body)
        file = caller.sdk.files.wait_for_processing(pending.id, poll_interval=0.05)

    assert (pending.status, pending.purpose) == ("pending", "fine-tune")
    assert (file.status, file.filename) == ("processed", "stored-completions.jsonl")
    assert file.status_details == "Examples: 12, from 12 matching stored completions."
    _, lines = read(caller.http, file.id)
    assert lines == [turns(f"[[say Arr {number}]]", f"Arr {number}") for number in range(12)]
    assert running_exports(server) == 0


def test_the_answer_says_where_the_file_is(caller, server):
    answer = caller.http.post(EXPORT, json={})
    perform(server, answer.json()["id"])

    assert answer.status_code == 201
    where = answer.headers["location"].partition("?")[0]
    assert where.endswith(f"/openai/files/{answer.json()['id']}")


def test_an_example_holds_all_that_was_asked_and_teaches_the_answer_alone(caller, server):
    asked = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "name": "anna", "content": [{"type": "text", "text": "Look."}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "user", "content": "Please."},
        {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None},
        {"role": "tool", "tool_call_id": "c1", "content": "a tree"},
    ]
    put(server.built, caller.resource, made({"tool_calls": [CALL]}, asked, tools=[TOOL]))

    _, [line] = export(server, caller.http)

    assert line == {
        "messages": [
            *asked[:2],
            {**asked[2], "weight": 0},
            asked[3],
            {"role": "assistant", "tool_calls": [CALL], "weight": 0},
            asked[5],
            {"role": "assistant", "tool_calls": [CALL]},
        ],
        "tools": [TOOL],
    }


def test_what_is_no_example_is_left_out_and_told_by_its_reason(caller, server):
    put(
        server.built,
        caller.resource,
        made("kept"),
        made("cut", finish="length"),
        made("filtered", finish="content_filter"),
        made("strange", finish="abort"),
        made({"content": None, "refusal": "No."}),
        made(" "),
        made("cut", finish="length"),
        made("seen", [{"role": "user", "content": [IMAGE]}]),
        made({"tool_calls": [{**CALL, "function": {"name": "f", "arguments": "no JSON"}}]}),
        made("first", others=2),
    )

    file, lines = export(server, caller.http)

    assert lines == [turns("A question", "first"), turns("A question", "kept")]
    assert file["status_details"].startswith(
        "Examples: 2, from 10 matching stored completions. Left out: 1 content_filter, "
        "1 finish_reason, 1 invalid, 2 length, 1 no_content, 1 not_text, 1 refusal. "
        "The first that is invalid is chatcmpl-"
    )
    assert file["status_details"].endswith(
        "messages[1] calls f with arguments that are no JSON. "
        "Of 1 with several choices the first was taken. "
        "A tuning job needs at least 10 examples."
    )


def test_a_call_of_any_depth_spoils_no_export(caller, server):
    deep = '{"a":' + "[" * 5_000 + "]" * 5_000 + "}"
    call = {**CALL, "function": {"name": "f", "arguments": deep}}
    put(server.built, caller.resource, made({"tool_calls": [call]}), made("kept"))

    file, lines = export(server, caller.http)

    assert lines == [turns("A question", "kept")]
    assert "Left out: 1 invalid." in file["status_details"]
    assert "it is nested too deeply." in file["status_details"]


@pytest.mark.parametrize("kind", ["chats", "preferences"])
def test_tools_are_learned_as_the_model_saw_them(caller, server, kind):
    properties = {name: {"type": "string"} for name in ("street", "city", "number")}
    schema = {"type": "object", "properties": properties}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    put(server.built, caller.resource, *(made(one, tools=[tool], model=one) for one in "ab"))
    pair = {"preferred": {"model": "a"}, "non_preferred": {"model": "b"}}

    _, [line] = export(server, caller.http, **({"model": "a"} if kind == "chats" else pair))

    [shown] = (line if kind == "chats" else line["input"])["tools"]
    assert list(shown["function"]["parameters"]["properties"]) == list(properties)


def test_an_export_is_filtered_ordered_and_limited_as_a_list_is(caller, server):
    put(
        server.built,
        caller.resource,
        *(made(f"{n}", metadata={"run": "1", "even": f"{n % 2 == 0}"}) for n in range(6)),
        made("other", metadata={"run": "1"}, model="b"),
        made("none"),
    )

    def said(**body):
        return [line["messages"][-1]["content"] for line in export(server, caller.http, **body)[1]]

    assert said(metadata={"run": "1", "even": "True"}) == ["4", "2", "0"]
    assert said(metadata="even:True", order="asc") == ["0", "2", "4"]
    assert said(metadata='{"run": "1"}', model="b") == said(model="the-b") == ["other"]
    assert said(metadata={"run": "1"}, limit=3) == ["other", "5", "4"]
    assert len(said()) == 8


def test_an_alias_is_exported_as_it_is_listed(caller, server):
    for model in ("gpt-4o", "chat", "other"):
        caller.store(model, model=model)

    _, lines = export(server, caller.http, model="gpt-4o", order="asc")
    file, _ = export(
        server, caller.http, preferred={"model": "gpt-4o"}, non_preferred={"model": "other"}
    )

    assert [line["messages"][0]["content"] for line in lines] == ["gpt-4o", "chat"]
    assert len(caller.ids(model="gpt-4o")) == 2
    assert "from 2 preferred and 1 non-preferred stored completions" in file["status_details"]


def test_a_deployment_that_has_the_name_of_an_alias_goes_before_it(caller, server):
    body = {"id": "gpt-4o", "model": "org/other-model"}
    caller.store("of the alias", model="gpt-4o")
    assert caller.http.post("/openai/deployments", json=body).status_code == 201
    caller.store("of the deployment", model="gpt-4o")

    _, lines = export(server, caller.http, model="gpt-4o")

    assert [line["messages"][0]["content"] for line in lines] == ["of the deployment"]
    assert len(caller.ids(model="gpt-4o")) == 1


def test_a_limit_that_was_reached_is_told(caller, server):
    put(server.built, caller.resource, *(made(f"{n}") for n in range(3)))

    file, _ = export(server, caller.http, limit=2)

    told = "Examples: 2, from 2 matching stored completions. The limit was reached. "
    assert file["status_details"].startswith(told)


@pytest.mark.parametrize("join", ["question", None], ids=["by a key", "by equal input"])
def test_two_runs_become_preferences(caller, server, join):
    for run in ("good", "bad"):
        for n in range(3):
            new = made(f"{run} {n}", f"Question {n}", metadata={"run": run, "question": f"{n}"})
            put(server.built, caller.resource, new)

    file, lines = export(
        server,
        caller.http,
        preferred={"metadata": {"run": "good"}},
        non_preferred={"metadata": {"run": "bad"}},
        order="asc",
        **({"join": join} if join else {}),
    )

    told = "Preferences: 3, from 3 preferred and 3 non-preferred stored completions. A tuning job"
    assert file["status_details"].startswith(told)
    assert lines == [
        {
            "input": {"messages": [{"role": "user", "content": f"Question {n}"}]},
            "preferred_output": [{"role": "assistant", "content": f"good {n}"}],
            "non_preferred_output": [{"role": "assistant", "content": f"bad {n}"}],
        }
        for n in range(3)
    ]


def test_what_makes_no_pair_is_left_out_and_told(caller, server):
    def new(said, asked, run, key=None, **more):
        keys = {"key": key} if key else {}
        return made(said, asked, metadata={"run": run, **keys}, **more)

    put(
        server.built,
        caller.resource,
        new("old", "A?", "good", "a"),
        new("new", "A?", "good", "a", others=1),
        new("bad", "A?", "bad", "a"),
        new("same", "B?", "good", "b"),
        new("same", "B?", "bad", "b"),
        new("x", "C?", "good", "c"),
        new("y", "Not C?", "bad", "c"),
        new("x", "D?", "good", "d"),
        new("y", "D?", "bad", "d", finish="length"),
        new("x", "E?", "good"),
        new("y", "F?", "bad", "f"),
    )

    file, [line] = export(
        server,
        caller.http,
        preferred={"metadata": "run:good"},
        non_preferred={"metadata": "run:bad"},
        join="key",
    )

    assert line["preferred_output"][0]["content"] == "new"
    assert file["status_details"] == (
        "Preferences: 1, from 6 preferred and 5 non-preferred stored completions. "
        "Left out: 1 length, 1 no_key, 1 repeated, 2 unpaired. "
        "Pairs left out: 1 different_input, 1 same_answer. "
        "Of 1 with several choices the first was taken. "
        "A tuning job needs at least 10 examples."
    )


def test_answers_to_the_same_words_with_other_tools_make_no_pair(caller, server):
    put(server.built, caller.resource, made("a", model="a", tools=[TOOL]), made("b", model="b"))

    file, _ = export(server, caller.http, preferred={"model": "a"}, non_preferred={"model": "b"})

    assert file["status"] == "error"
    assert "2 unpaired" in file["status_details"]


def test_preferences_come_in_the_order_of_the_preferred_ones_up_to_the_limit(caller, server):
    for model in "ba":
        put(server.built, caller.resource, *(made(model, f"{n}", model=model) for n in range(150)))
    pair = {"preferred": {"model": "a"}, "non_preferred": {"model": "b"}}

    _, newest = export(server, caller.http, **pair)
    _, oldest = export(server, caller.http, **pair, order="asc", limit=120)

    def asked(lines):
        return [int(line["input"]["messages"][0]["content"]) for line in lines]

    assert asked(newest) == list(range(149, -1, -1))
    assert asked(oldest) == list(range(120))


def test_a_pair_of_which_one_was_deleted_meanwhile_is_told(caller, server):
    """The third step of such an export reads the pairs that the first two found."""
    new = [made(said, f"{n}", model=said) for n in range(2) for said in "ab"]
    put(server.built, caller.resource, *new)
    file_id = start(caller.http, preferred={"model": "a"}, non_preferred={"model": "b"})

    class Deleting(TickTicket):
        steps = 0

        def check(self):
            self.steps += 1
            if self.steps == 3:
                caller.sdk.chat.completions.delete(new[1].id)

    server.built.parts[Exports].perform(file_id, Deleting())

    file, [line] = read(caller.http, file_id)
    assert line["input"]["messages"][0]["content"] == "1"
    assert "Pairs left out: 1 deleted." in file["status_details"]


def test_the_place_of_what_was_deleted_is_nobody_elses(caller, server):
    """Between the steps that find the pairs and the one that reads them, the newest goes."""
    put(server.built, caller.resource, made("a", model="a"))
    newest = made("b", model="b")
    put(server.built, caller.resource, newest)
    file_id = start(caller.http, preferred={"model": "a"}, non_preferred={"model": "b"})

    class Replacing(TickTicket):
        steps = 0

        def check(self):
            self.steps += 1
            if self.steps == 3:
                caller.sdk.chat.completions.delete(newest.id)
                put(server.built, "stranger", made("theirs"))

    server.built.parts[Exports].perform(file_id, Replacing())

    assert "Pairs left out: 1 deleted." in read(caller.http, file_id)[0]["status_details"]


def test_what_came_later_is_not_exported_in_the_place_of_what_was_deleted(caller, server):
    put(server.built, caller.resource, made("before"), newest := made("newest"))
    file_id = start(caller.http)
    caller.sdk.chat.completions.delete(newest.id)
    put(server.built, caller.resource, made("after"))

    perform(server, file_id)

    assert read(caller.http, file_id)[1] == [turns("A question", "before")]


def test_an_export_of_nothing_is_an_error_that_says_so(caller, server):
    put(server.built, caller.resource, made("cut", finish="length"))

    file, _ = export(server, caller.http)

    assert (file["status"], file["bytes"]) == ("error", None)
    told = "There is nothing to export. Examples: 0, from 1 matching stored completions."
    assert file["status_details"].startswith(f"{told} Left out: 1 length.")
    status, code, message = error_of(caller.http.get(f"/openai/files/{file['id']}/content"))
    assert (status, code, message) == (400, "jsonlValidationFailed", file["status_details"])
    assert running_exports(server) == 0


@pytest.mark.parametrize(
    ("body", "target"),
    [
        ({"metadata": {"a": 1}}, "$.metadata"),
        ({"metadata": "nothing"}, "$.metadata"),
        ({"metadata": {"k" * 65: "v"}}, "$.metadata.k"),
        ({"modell": "a"}, "$.modell"),
        ({"limit": 0}, "$.limit"),
        ({"limit": 2**40}, "$.limit"),
        ({"order": "up"}, "$.order"),
        ({"filename": "a.txt"}, "filename"),
        ({"join": "a"}, "$.join"),
        ({"preferred": {"model": "a"}}, "$.non_preferred"),
        ({"preferred": {"model": "a"}, "non_preferred": {"model": "a"}}, "$.non_preferred"),
        ({"preferred": {"model": "a"}, "non_preferred": {}, "model": "b"}, "$.model"),
        ({"preferred": {"modell": "a"}, "non_preferred": {}}, "$.preferred.modell"),
        ({"preferred": {"metadata": "no"}, "non_preferred": {}}, "$.preferred.metadata"),
        (
            {"preferred": {}, "non_preferred": {"metadata": {"k" * 65: "v"}}},
            "$.non_preferred.metadata.k",
        ),
    ],
    ids=str,
)
def test_an_export_that_cannot_be_is_refused(caller, body, target):
    answer = caller.http.post(EXPORT, json=body)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalidPayload"
    assert answer.json()["error"]["target"].startswith(target)
    assert caller.http.get("/openai/files").json()["data"] == []


def test_what_others_stored_and_what_came_later_is_not_exported(caller, server):
    put(server.built, "stranger", made("theirs"))
    put(server.built, caller.resource, made("before"))
    file_id = start(caller.http, order="asc")
    put(server.built, caller.resource, made("after"))

    perform(server, file_id)

    assert read(caller.http, file_id)[1] == [turns("A question", "before")]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_what_is_deleted_on_the_way_disturbs_nothing(caller, server, order):
    """The walk goes in steps of 100; after the first, the completion that it ended with goes."""
    new = [made(f"{n}") for n in range(250)]
    put(server.built, caller.resource, *new)
    file_id = start(caller.http, order=order)
    stored, gone = server.built.parts[StoredCompletions], new[99 if order == "asc" else 150]

    class Interfering(TickTicket):
        steps = 0

        def check(self):
            self.steps += 1
            if self.steps == 2:
                stored.delete(caller.resource, gone.id)
                put(server.built, caller.resource, made("later"))

    server.built.parts[Exports].perform(file_id, Interfering())

    lines = read(caller.http, file_id)[1]
    said = [int(line["messages"][-1]["content"]) for line in lines]
    assert said == (list(range(250)) if order == "asc" else list(range(249, -1, -1)))


def test_an_export_whose_file_was_deleted_leaves_nothing(caller, server):
    put(server.built, caller.resource, *(made(f"{n}") for n in range(150)))
    waiting, running = (start(caller.http) for _ in range(2))
    caller.sdk.files.delete(waiting)

    class Deleting(TickTicket):
        def check(self):
            caller.http.delete(f"/openai/files/{running}")

    before = objects(server)
    perform(server, waiting)
    server.built.parts[Exports].perform(running, Deleting())

    assert objects(server) == before
    assert running_exports(server) == 0
    for file_id in (waiting, running):
        with pytest.raises(openai.NotFoundError):
            caller.sdk.files.retrieve(file_id)


def limited(server, **limits) -> Exports:
    """Exports under other limits."""
    files = server.built.parts[Files]
    limited_files = replace(files, limits=files.limits.model_copy(update=limits))
    return replace(server.built.parts[Exports], files=limited_files)


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"stored_bytes": 50}, "0 of the 50 bytes that this resource may keep are in use"),
        ({"file_bytes": 50}, "a file with purpose fine-tune may have 50 bytes"),
    ],
    ids=["quota", "size"],
)
def test_an_export_that_is_too_large_is_an_error(caller, server, limits, told):
    put(server.built, caller.resource, made("something", "said"))
    file_id, before = start(caller.http), objects(server)

    limited(server, **limits).perform(file_id, TickTicket())

    file, _ = read(caller.http, file_id)
    assert file["status"] == "error"
    assert file["status_details"].startswith("The export failed. ")
    assert told in file["status_details"]
    assert objects(server) == before
    assert running_exports(server) == 0


def test_an_export_counts_as_a_file_and_an_export_that_failed_for_good_says_so(caller, server):
    file_id = start(caller.http)
    exports = limited(server, fine_tune_files=1)

    with pytest.raises(QuotaExceeded, match="and may have 1"):
        exports.start(caller.resource, StoredCompletionExport())
    exports.give_up(file_id, RuntimeError("secret"))

    file, _ = read(caller.http, file_id)
    assert (file["status"], file["status_details"]) == (
        "error",
        "The export failed. The server failed.",
    )
    assert running_exports(server) == 0


def test_an_export_that_is_begun_again_makes_one_file(caller, server):
    """The worker dies when the bytes are there and the row is not."""
    put(server.built, caller.resource, made("said"))
    file_id = start(caller.http)

    class Dying(TickTicket):
        def guard(self, tx):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        server.built.parts[Exports].perform(file_id, Dying())
    assert read(caller.http, file_id)[0]["status"] == "running"
    perform(server, file_id)
    perform(server, file_id)

    assert read(caller.http, file_id)[1] == [turns("A question", "said")]
    before = len(objects(server))
    drop_leftovers(server.built.parts[Files], TickTicket(), older_than_seconds=0)
    assert len(objects(server)) == before - 1
