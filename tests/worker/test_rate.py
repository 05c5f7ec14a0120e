from processor.worker.rate import Rate


def test_nothing_is_known_of_less_than_two_moments() -> None:
    rate = Rate()
    assert rate.per_second == 0.0
    rate.note(1.0, 100)
    assert rate.per_second == 0.0
    rate.note(1.0, 200)
    assert rate.per_second == 0.0


def test_it_is_of_the_last_five_seconds() -> None:
    rate = Rate()
    for second in range(4):
        rate.note(second, 10 * second)
    assert rate.per_second == 10.0
    for second in range(4, 12):
        rate.note(second, 30.0)
    assert rate.per_second == 0.0
