def check_positive(value: int, name: str = "top_k") -> None:
    """
    Refuse a number of things that is none.

    :param value:
        The number.
    :param name:
        The parameter that it was given as.
    :raises ValueError:
        If it is not > 0.
    """
    if value <= 0:
        msg = f"{name} must be > 0, but got {value}"
        raise ValueError(msg)
