"""Which prompts begin alike, and which of them are worth waiting for."""

from linarite.engines.prefixes import Prefixes, blocks_of

RULES = list(range(70))
"""Two whole blocks and some."""


def test_blocks_are_equal_as_far_as_prompts_are():
    one, other = blocks_of([*RULES, 1]), blocks_of([*RULES[:40], 9, *RULES[41:], 1])

    assert len(one) == len(other) == 2
    assert one[0] == other[0]
    assert one[1] != other[1]


def test_a_block_counts_with_what_stands_before_it():
    again = list(range(32))

    first, second = blocks_of([*again, *again, 1])

    assert first != second


def test_the_last_token_makes_no_block_whole():
    assert blocks_of(list(range(32))) == ()
    assert len(blocks_of(list(range(33)))) == 1


def test_what_another_reads_is_waited_for():
    mine, theirs = blocks_of([*RULES, 1]), blocks_of([*RULES, 2])

    assert Prefixes().is_worth_waiting(mine, [theirs])


def test_what_was_read_is_not_waited_for():
    prefixes, mine, theirs = Prefixes(), blocks_of([*RULES, 1]), blocks_of([*RULES, 2])
    prefixes.note_read(theirs)

    assert not prefixes.is_worth_waiting(mine, [theirs])


def test_what_lies_behind_a_known_beginning_is_waited_for():
    prefixes = Prefixes()
    prefixes.note_read(blocks_of([*RULES, 1]))
    longer = [*RULES, *range(500, 600)]

    assert prefixes.is_worth_waiting(blocks_of([*longer, 1]), [blocks_of([*longer, 2])])


def test_a_short_or_another_prompt_waits_for_nobody():
    theirs = blocks_of([*RULES, 2])

    assert not Prefixes().is_worth_waiting(blocks_of([1, 2, 3]), [theirs])
    assert not Prefixes().is_worth_waiting(blocks_of([*range(900, 999)]), [theirs])
