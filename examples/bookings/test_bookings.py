"""The service under test: its functions are called live, with the models themselves."""

from datetime import datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from bookings import Booking, NoSuchBooking, Room, Slot, Taken, book, find, of_room

NOON = datetime(2030, 1, 1, 12, tzinfo=timezone.utc)


def lunch(room: Room = Room.hall, start: datetime = NOON, **more: object) -> Booking:
    return Booking(room=room, slot=Slot(start=start, minutes=60), title="Lunch", **more)


def test_what_was_booked_is_found():
    made = book(lunch(guests=["Alice"]))
    assert made["until"] == NOON + timedelta(hours=1)
    assert find(made["number"]) == lunch(guests=["Alice"])
    assert of_room(Room.hall, titles=["Lunch"]) == [lunch(guests=["Alice"])]
    assert of_room(Room.hall, titles=["Dinner"]) == []


def test_a_room_is_booked_once():
    first = book(lunch(start=NOON + timedelta(days=1)))
    with pytest.raises(Taken) as taken:
        book(lunch(start=NOON + timedelta(days=1, minutes=30)))
    assert taken.value.detail == f"booking {first['number']} has the room then"
    assert book(lunch(Room.attic, start=NOON + timedelta(days=1, minutes=30)))


def test_what_is_not_there_is_told():
    with pytest.raises(NoSuchBooking, match="999"):
        find(999)


def test_rules_hold():
    with pytest.raises(ValidationError, match="room for four guests"):
        lunch(Room.attic, guests=["A", "B", "C", "D", "E"])
