"""What went wrong, in words."""


def cause_of(error: BaseException) -> BaseException:
    """What went wrong in a component, out of the layers that Haystack wraps it in."""
    while type(error).__module__.startswith(("haystack.", "haystack_integrations.")) and error.__cause__ is not None:
        error = error.__cause__
    return error
