"""A persistent map is what a dict would be, keeps what it was, and copies little to be extended."""

from math import log2

from hypothesis import given
from hypothesis import strategies as st

from shared.persistent_map import PersistentMap
from tests.properties.states import copied

_ENTRIES = st.dictionaries(st.integers(0, 30), st.integers(), max_size=4)


@given(st.lists(_ENTRIES, max_size=40))
def test_it_is_what_a_dict_would_be_in_the_same_order(extensions: list[dict[int, int]]) -> None:
    made, expected = PersistentMap[int, int](), dict[int, int]()
    former: list[tuple[PersistentMap[int, int], dict[int, int]]] = []
    for entries in extensions:
        former.append((made, dict(expected)))
        made = made.extended(entries)
        expected |= entries
        assert list(made.items()) == list(expected.items())
        assert list(made.values()) == list(expected.values())
        assert len(made) == len(expected) and dict(made) == expected
        assert all(made[key] == value for key, value in expected.items())
        assert (made.get(-1), -1 in made) == (None, False)
    assert all(before == then for before, then in former), "an extension changes nothing that was"


@given(st.integers(1, 3000), st.sampled_from([1, 7, 5000]))
def test_extensions_copy_a_logarithm_of_its_size_on_the_average(number: int, keys: int) -> None:
    made, written = PersistentMap[int, int](), 0
    for each in range(number):
        before, made = made, made.extended({each % keys: each})
        written += copied(before, made)
        assert len(made.parts) <= log2(each + 1) + 1
    assert written <= number * (log2(number) + 2)
