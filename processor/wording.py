"""Numbers of things as a person writes them."""


def several(count: int, noun: str) -> str:
    """A number of things: `1 record`, `1,200 records`.

    Args:
        count: How many.
        noun: What one of them is called, whose plural ends in `s`.
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
