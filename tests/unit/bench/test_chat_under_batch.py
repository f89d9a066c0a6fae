from bench.chat_under_batch import finding


def test_up_to_150_ms_is_met_however_quick_an_idle_engine_is() -> None:
    """Idle 10 ms counts as 75 ms, half of 150: 150 / 75 = 2, the limit."""
    assert finding("median", 0.5, idle=[[10.0]], loaded=[[150.0]]).is_met
    assert not finding("median", 0.5, idle=[[10.0]], loaded=[[151.0]]).is_met


def test_above_that_twice_the_idle_time_is_the_limit() -> None:
    assert finding("median", 0.5, idle=[[200.0]], loaded=[[400.0]]).is_met
    assert not finding("median", 0.5, idle=[[200.0]], loaded=[[401.0]]).is_met
