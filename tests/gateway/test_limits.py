"""How many streams there may be."""

import pytest
from django.test import override_settings

from taskbell.gateway.hub import Hub
from taskbell.gateway.limits import Limits
from taskbell.gateway.request import Rejected
from taskbell.gateway.window import Window
from tests.gateway.paper import PaperLog, PaperLoop, PaperStream


class Door:
    """Limits as a gateway uses them: a seat for the request, then a stream that keeps it."""

    def __init__(self) -> None:
        self.limits = Limits()
        self.loop = PaperLoop()
        self.hub = Hub(Window(1_000_000), lambda stream: None, self.limits.leave)
        self.hub.start_at(PaperLog().head, [])

    def open(self, person: str | None = None, address: str = "a") -> PaperStream:
        stream = PaperStream("public:1", person=person, address=address)
        with self.limits.seat(address) as seat, self.loop.running():
            seat.keep()
            self.limits.enter(stream, self.hub)
            self.hub.join(stream, None)
        return stream

    def status(self, address: str = "a") -> int:
        try:
            with self.limits.seat(address):
                return 200
        except Rejected as rejected:
            return rejected.status


@override_settings(TASKBELL={"STREAMS_PER_ADDRESS": 2})
def test_an_address_has_so_many_seats_and_gets_them_back() -> None:
    door = Door()
    first, _ = door.open(), door.open()
    assert (door.status("a"), door.status("b")) == (503, 200)
    door.hub.left(first)
    assert door.status("a") == 200


@override_settings(TASKBELL={"STREAMS_PER_PROCESS": 2})
def test_a_process_has_so_many_seats() -> None:
    door = Door()
    door.open(address="a")
    last = door.open(address="b")
    assert door.status("c") == 503
    door.hub.left(last)
    assert door.status("c") == 200


@override_settings(TASKBELL={"STREAMS_PER_ADDRESS": 1})
def test_a_request_counts_from_its_first_check_and_gives_back_what_no_stream_keeps() -> None:
    door = Door()
    with door.limits.seat("a"):
        assert door.status("a") == 503, "a burst cannot slip through while the first is checked"
    with pytest.raises(Rejected), door.limits.seat("a"):
        raise Rejected(404)
    assert door.status("a") == 200
    assert door.limits.total == 0


@override_settings(TASKBELL={"STREAMS_PER_PERSON": 2})
def test_the_oldest_stream_of_a_person_makes_room() -> None:
    door = Door()
    other = door.open("somebody else")
    one, two, three = door.open("p"), door.open("p"), door.open("p")
    assert [event.data for event in one.events] == ["{}", '{"reason":"limit"}']
    assert one.ended
    assert [stream.closed for stream in (other, two, three)] == [False, False, False]
    four = door.open("p")
    assert two.ended
    assert not four.closed


@override_settings(TASKBELL={"STREAMS_PER_PERSON": 1})
def test_streams_without_a_person_are_not_counted_together() -> None:
    door = Door()
    assert not any(stream.closed for stream in [door.open(), door.open(), door.open()])


@override_settings(TASKBELL={"STREAMS_PER_PERSON": 2})
def test_a_stream_that_is_on_its_way_out_is_not_counted_again() -> None:
    """What said `bye` may take a while to go: the next ones must not cost the ones that are left."""
    door = Door()
    streams = [door.open("p") for _ in range(4)]
    assert [stream.closed for stream in streams] == [True, True, False, False]
    for stream in streams:
        door.hub.left(stream)
    assert door.limits._people == {}
    assert (door.limits.total, door.limits._addresses) == (0, {})
