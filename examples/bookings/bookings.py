"""Rooms and who has them: bodies are pydantic models, and what breaks their rules is answered before the function is called.

Served by `flash run examples/bookings`.
"""

from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field, model_validator

from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="bookings")


class Room(str, Enum):
    attic = "attic"
    hall = "hall"


class Slot(BaseModel):
    """From when, and for how many minutes."""

    start: AwareDatetime
    minutes: Annotated[int, Field(ge=15, le=480, multiple_of=15)]

    @property
    def end(self) -> datetime:
        return self.start + timedelta(minutes=self.minutes)


class Booking(BaseModel):
    room: Room
    slot: Slot
    title: Annotated[str, Field(min_length=1, max_length=80)]
    guests: list[str] = []

    @model_validator(mode="after")
    def fits_into_the_room(self) -> "Booking":
        if self.room is Room.attic and len(self.guests) > 4:
            raise ValueError("the attic has room for four guests")
        return self


class NoSuchBooking(Exception):
    """An exception with these attributes chooses its answer: 404, rather than the 500 of any other."""

    status_code = 404

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.detail = f"there is no booking {number}"


class Taken(Exception):
    status_code = 409

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.detail = f"booking {number} has the room then"


bookings: dict[int, Booking] = {}


@remote(api, method="POST", path="/bookings")
def book(booking: Booking) -> dict:
    """Book a room.

    The body is the one model itself. Times without a zone are refused.
    """
    for number, other in bookings.items():
        if other.room is booking.room and other.slot.start < booking.slot.end and booking.slot.start < other.slot.end:
            raise Taken(number)
    number = len(bookings) + 1
    bookings[number] = booking
    return {"number": number, "until": booking.slot.end}


@remote(api, method="GET", path="/bookings/{number}")
def find(number: int) -> Booking:
    """One booking."""
    if number not in bookings:
        raise NoSuchBooking(number)
    return bookings[number]


@remote(api, method="GET", path="/rooms/{room}/bookings")
def of_room(room: Room, titles: list[str] | None = None, limit: Annotated[int, Field(ge=1, le=100)] = 20) -> list[Booking]:
    """A room's bookings, by time; of those with one of these titles alone, if there are any: `?titles=a&titles=b`."""
    found = [booking for booking in bookings.values() if booking.room is room and (titles is None or booking.title in titles)]
    return sorted(found, key=lambda booking: booking.slot.start)[:limit]


if __name__ == "__main__":
    noon = datetime(2030, 1, 1, 12, tzinfo=timezone.utc)
    print(book(Booking(room=Room.attic, slot=Slot(start=noon, minutes=45), title="Lunch", guests=["Alice", "Bob"])))
    print(of_room(Room.attic))
