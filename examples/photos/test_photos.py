"""The service under test. Live, bytes are bytes: the form is a matter of HTTP alone."""

import pytest

from photos import NoPhoto, Unknown, add, find, show

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def test_a_photo_is_kept_once():
    first = add(PNG, "Grey", ["test"])
    assert first == add(PNG, "Grey", ["test"])
    assert first["type"] == "image/png" and first["bytes"] == len(PNG)
    assert find("test") == [first]
    assert show(first["number"]).body == PNG


def test_what_is_no_photo_is_refused():
    with pytest.raises(NoPhoto):
        add(b"plain text", "Text")


def test_what_is_not_there_is_told():
    with pytest.raises(Unknown):
        show("nothing")
