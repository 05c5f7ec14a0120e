from processor.worker.adoption import Adoption


def test_it_is_complete_when_all_steps_are_done() -> None:
    adoption = Adoption()
    adoption.note("joined")
    adoption.note("fenced")
    assert adoption.has("joined")
    assert not adoption.has("caught up")
    assert not adoption.is_complete
    adoption.note("caught up")
    assert adoption.is_complete


def test_the_whole_takes_as_long_as_its_last_step() -> None:
    adoption = Adoption()
    for step in ("fenced", "caught up", "joined"):
        adoption.note(step)
    seconds = adoption.seconds()
    assert set(seconds) == {"fence_s", "catch_up_s", "join_s", "total_s"}
    assert seconds["total_s"] == seconds["join_s"]
