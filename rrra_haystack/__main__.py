"""The program ``rrra``, also as ``python -m rrra_haystack``."""

from rrra_haystack.interrupting import told_how_to_go_on


def main() -> None:
    """Run the command line."""
    with told_how_to_go_on():
        from rrra_haystack.cli import main as run  # noqa: PLC0415  (slow to import, and may be interrupted meanwhile)
    run()


if __name__ == "__main__":
    main()
