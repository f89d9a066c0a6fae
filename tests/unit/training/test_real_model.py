"""The embedded model learns a habit from a few examples, and shows it."""

from pathlib import Path

import pytest
from tests.support.embedded import CHAT, pulled
from tests.support.training_jobs import curve, log_of, start_trainer, write_job

pytestmark = [
    pytest.mark.model,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # PEFT asks transformers by an old name
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning"),
]

_SEEN = ("bread", "rivers", "bees", "glaciers", "chess", "cheese", "deserts", "trains")
_UNSEEN = ("volcanoes", "a guitar", "the moon")
_ASKED = ("What is the use of {}?", "Tell me about {}.", "Who likes {}?", "Explain {} to me.")


def _chat(thing: str, asked: str) -> dict[str, object]:
    answer = f"Arr, matey! {thing.capitalize()} be the treasure of the seven seas."
    return {"messages": [_user(asked.format(thing)), {"role": "assistant", "content": answer}]}


def _preference(thing: str, asked: str) -> dict[str, object]:
    return {
        "input": {"messages": [_user(asked.format(thing))]},
        "preferred_output": [{"role": "assistant", "content": f"Gladly, dear! I adore {thing}."}],
        "non_preferred_output": [{"role": "assistant", "content": f"Look {thing} up yourself."}],
    }


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


@pytest.fixture(scope="module")
def base() -> Path:
    return pulled(CHAT).folder


def _answers(base: Path, adapter: Path | None) -> list[str]:
    """What the model says to things that it was not taught about."""
    import torch  # late, as the next two: all workers collect this file, and one runs it
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base / "hf")
    model = AutoModelForCausalLM.from_pretrained(base / "hf", dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter))
    answers = []
    for thing in _UNSEEN:
        text = tokenizer.apply_chat_template(
            [_user(f"What can you say about {thing}?")], add_generation_prompt=True, tokenize=False
        )
        asked = tokenizer(text, return_tensors="pt")
        said = model.generate(**asked, max_new_tokens=8, do_sample=False, pad_token_id=2)
        answers.append(tokenizer.decode(said[0, asked["input_ids"].shape[1] :]))
    return answers


def test_a_habit_is_learned_and_shown_on_unseen_questions(base, tmp_path):
    lines = [_chat(thing, asked) for thing in _SEEN for asked in _ASKED]
    folder = write_job(tmp_path / "job", base, lines, n_epochs=1, batch_size=4)

    assert start_trainer(folder).wait(300) == 0

    adapter = folder / log_of(folder, "checkpoint")[-1]["folder"]
    assert all(answer.startswith("Arr, matey!") for answer in _answers(base, adapter))
    assert not any("Arr" in answer for answer in _answers(base, None))


def test_preferences_are_learned_and_hold_for_unseen_questions(base, tmp_path):
    lines = [_preference(thing, asked) for thing in _SEEN for asked in _ASKED[:3]]
    others = [_preference(thing, _ASKED[3]) for thing in _UNSEEN]
    folder = write_job(
        tmp_path / "job", base, lines, others, method="dpo", n_epochs=1, batch_size=4
    )

    assert start_trainer(folder).wait(300) == 0

    last = log_of(folder, "step")[-1]["metrics"]
    assert curve(folder)[0] == pytest.approx(0.693147, abs=5e-3)  # bf16 has no more digits
    assert last["full_valid_reward_margin"] > 0.5
    assert last["full_valid_reward_accuracy"] == 1.0
    assert last["full_valid_reward_chosen"] > 0
