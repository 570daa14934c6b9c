"""Uploads: `bytes` are files of a form, and what stands beside them its fields.

Served by `flash run examples/photos`; then

    curl -F photo=@cat.jpg -F title=Cat -F tags=pet -F tags=indoors localhost:8888/lb/photos/photos
"""

import hashlib

from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="photos")

KINDS = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png", b"GIF8": "image/gif"}
photos: dict[str, dict] = {}
contents: dict[str, bytes] = {}


class NoPhoto(Exception):
    """Answered with 415."""

    status_code = 415
    detail = "a photo is a JPEG, PNG or GIF file"


class Unknown(Exception):
    status_code = 404
    detail = "there is no such photo"


class Picture:
    """Any object with these three is a whole answer by itself, as the response classes of web frameworks are."""

    status_code = 200

    def __init__(self, kind: str, body: bytes) -> None:
        self.raw_headers = [(b"content-type", kind.encode()), (b"cache-control", b"max-age=3600")]
        self.body = body


@remote(api, method="POST", path="/photos")
def add(photo: bytes, title: str, tags: list[str] = []) -> dict:  # noqa: B006 - it is only read
    """Keep a photo. Its number is that of its content: the same photo twice is one."""
    kind = next((kind for start, kind in KINDS.items() if photo.startswith(start)), None)
    if kind is None:
        raise NoPhoto
    number = hashlib.sha256(photo).hexdigest()[:12]
    contents[number] = photo
    photos[number] = {"number": number, "title": title, "tags": tags, "type": kind, "bytes": len(photo)}
    return photos[number]


@remote(api, method="GET", path="/photos")
def find(tag: str | None = None) -> list[dict]:
    """All photos, or those with a tag."""
    return [photo for photo in photos.values() if tag is None or tag in photo["tags"]]


@remote(api, method="GET", path="/photos/{number}")
def show(number: str):
    """The photo itself."""
    if number not in contents:
        raise Unknown
    return Picture(photos[number]["type"], contents[number])
