from typing import Any


def options_of(component: object, **given: Any) -> dict[str, Any]:
    """
    What a component works with in a run.

    :param component:
        The component, which has attributes of the same names.
    :param given:
        What the run was given; `None` for what the component has.
    :returns:
        The values by their names.
    """
    return {name: getattr(component, name) if value is None else value for name, value in given.items()}
