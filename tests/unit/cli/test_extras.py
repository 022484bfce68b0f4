"""What a command says where an extra is not installed."""

import pytest

from rrra_haystack.cli.extras import extra


def test_a_missing_package_names_the_extra_that_brings_it() -> None:
    told = r"rrra mine needs the extra 'train' \(No module named 'nowhere'\). Install it with: pip install 'rrra-ha"
    with pytest.raises(ImportError, match=told), extra("train", "rrra mine"):
        import nowhere  # noqa: F401
