from haystack import Document


def check_positive(value: float, name: str = "top_k") -> None:
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


def check_documents(documents: object, component: str, otherwise: str = "") -> None:
    """
    Refuse what is no list of Documents.

    :param documents:
        What a component was given.
    :param component:
        The name of the component.
    :param otherwise:
        What to do with something else.
    :raises TypeError:
        If it is not a list of Documents.
    """
    if not isinstance(documents, list):
        told = [f"got a {type(documents).__name__}"]
    else:
        wrong = ((number, one) for number, one in enumerate(documents) if not isinstance(one, Document))
        told = [f"number {number} is a {type(one).__name__}" for number, one in wrong]
    if told:
        msg = f"{component} expects a list of Documents as input, but {told[0]}. {otherwise}".rstrip()
        raise TypeError(msg)
