from torchgeo_cmr.datasets.recent import Recent


def test_the_value_used_longest_ago_makes_way() -> None:
    kept: Recent[str, int] = Recent(2)
    assert kept.put('a', 1) == 1
    kept.put('b', 2)
    assert kept.get('a') == 1
    kept.put('c', 3)
    assert [kept.get(key) for key in 'abc'] == [1, None, 3]
    assert len(kept) == 2
