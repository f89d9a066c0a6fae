"""A chat is written down as the model wants it, and a template cannot hold the server up."""

import pytest

from linarite.engines.templates import ChatTemplate
from linarite.errors import InferenceRefused

CHAT = [{"role": "user", "content": "hello"}]


def test_a_template_writes_a_chat_down():
    source = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}"

    text = ChatTemplate(source, {"bos_token": "<s>"}).render(CHAT)

    assert text == "<s>[user] hello"


def test_a_template_that_refuses_is_told_to_the_caller():
    template = ChatTemplate("{{ raise_exception('roles must alternate') }}", {})

    with pytest.raises(InferenceRefused, match="roles must alternate"):
        template.render(CHAT)


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{% for a in range(999999999) %}{% endfor %}",
        "{{ 'a'.format.__globals__['os'] }}",
    ],
    ids=["class", "append", "range", "globals"],
)
def test_a_template_cannot_leave_its_sandbox(source):
    with pytest.raises(InferenceRefused, match="refuses these messages"):
        ChatTemplate(source, {}).render(CHAT)


def test_a_template_that_does_not_end_is_stopped():
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"

    with pytest.raises(InferenceRefused, match="took longer"):
        ChatTemplate(loop, {}, limit_seconds=0.1).render(CHAT)

    assert ChatTemplate("fine", {}).render(CHAT) == "fine"


@pytest.mark.parametrize(
    ("source", "written"),
    [
        ("{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}", "[user] Ada: hello"),
        ("{% for m in messages %}[{{ m.name }}] {{ m.content }}{% endfor %}", "[Ada] hello"),
    ],
)
def test_a_speakers_name_is_written_once(source, written):
    named = [{"role": "user", "name": "Ada", "content": "hello"}]

    assert ChatTemplate(source, {}).render(named) == written
