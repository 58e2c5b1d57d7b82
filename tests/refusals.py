"""How tests see that input is refused."""

import pytest

from ntkrobust.errors import InputError


def refused(call, *words):
    """The sentence with which ``call`` is refused: one line that holds all of ``words``."""
    with pytest.raises(InputError) as caught:
        call()
    sentence = str(caught.value)
    assert "\n" not in sentence
    for word in words:
        assert word in sentence, sentence
    return sentence
