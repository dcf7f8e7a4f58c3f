"""Counting by client, in bounded memory."""

from services.gateway.guard.rates import Rate, client_of


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_rate_allows_so_many_in_a_window() -> None:
    time = Time()
    rate = Rate(limit=2, seconds=10, now=time)
    assert [rate.take("a"), rate.take("a")] == [0, 0]
    time.now = 4
    assert rate.take("a") == 6
    assert rate.take("b") == 0
    time.now = 10
    assert rate.take("a") == 0


def test_rate_of_zero_allows_any_number_and_remembers_nobody() -> None:
    rate = Rate(limit=0, seconds=10, now=Time())
    assert {rate.take("a") for _ in range(100)} == {0}
    assert len(rate) == 0


def test_rate_forgets_what_was_given_back() -> None:
    rate = Rate(limit=1, seconds=10, now=Time())
    rate.take("a")
    rate.give_back("a")
    rate.give_back("a")
    rate.give_back("stranger")
    assert [rate.take("a"), rate.take("a") > 0] == [0, True]


def test_rate_keeps_bounded_memory_when_many_clients_come() -> None:
    rate = Rate(limit=1, seconds=10, now=Time(), room=3)
    for number in range(50):
        rate.take(f"client-{number}")
    assert len(rate) == 3
    assert rate.take("client-49") > 0


def test_client_is_an_address_or_the_network_of_one() -> None:
    assert client_of("2001:db8::1") == client_of("2001:db8::ffff:2") != client_of("2001:db8:0:1::1")
    assert client_of("::ffff:10.0.0.1") == client_of("10.0.0.1") != client_of("10.0.0.2")
    assert client_of("") == ""
