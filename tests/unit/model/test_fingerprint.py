from rrra_haystack.model.fingerprint import fingerprint


def test_fingerprint_depends_on_each_part_and_its_bounds() -> None:
    assert fingerprint("ab", "c") == fingerprint("ab", b"c")
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
    assert 0 <= fingerprint("x") < 2**32
