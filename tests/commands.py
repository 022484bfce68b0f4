"""The command ``rrra``, run in this process."""

from typer.testing import CliRunner

from rrra_haystack.cli import app


def run(*arguments: str) -> str:
    """What a command that succeeds prints."""
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def counts(output: str) -> str:
    """How many files `rrra index` says that it added, changed and removed."""
    return next(line for line in output.splitlines() if "files added" in line)
