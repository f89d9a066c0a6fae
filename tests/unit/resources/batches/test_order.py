from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from linarite.resources.batches.order import Ask, Window


def asks(*prefixes: int) -> Iterator[Ask]:
    for number, prefix in enumerate(prefixes):
        yield Ask(number, f"task-{number}", {}, 100, prefix)


def taken(window: Window) -> list[Ask]:
    order: list[Ask] = []
    while not window.is_over:
        if window.wants_more:
            window.add(window.read_ahead())
        if (ask := window.take()) is not None:
            order.append(ask)
    return order


def test_requests_that_begin_alike_are_asked_one_after_the_other():
    order = taken(Window(asks(1, 2, 1, 2, 3, 1)))

    assert [ask.prefix for ask in order] == [1, 1, 1, 2, 2, 3]
    assert [ask.number for ask in order] == [0, 2, 5, 1, 3, 4]


def test_requests_without_likeness_keep_their_order():
    order = taken(Window(asks(1, 2, 3, 4, 5)))

    assert [ask.number for ask in order] == [0, 1, 2, 3, 4]


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 9), st.integers(1, 900))
def test_every_request_is_asked_once_whatever_the_bounds(prefixes, most_requests, most_bytes):
    order = taken(Window(asks(*prefixes), most_requests, most_bytes))

    assert sorted(ask.number for ask in order) == list(range(len(prefixes)))


def test_a_window_holds_no_more_than_its_bounds():
    by_requests, by_bytes = Window(asks(*range(100)), 10), Window(asks(*range(100)), 50, 1000)

    by_requests.add(by_requests.read_ahead())
    by_bytes.add(by_bytes.read_ahead())

    assert len(by_requests) == 10
    assert len(by_bytes) == 10


def test_a_rare_prefix_waits_no_longer_than_the_window_is_wide():
    order = taken(Window(asks(1, 2, *[1] * 98), most_requests=10))

    place = next(place for place, ask in enumerate(order) if ask.prefix == 2)
    assert place <= 20
