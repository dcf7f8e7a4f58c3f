"""Nominal times: intervals, cron, zones, and what daylight saving does to them."""

import zoneinfo
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.messages.catalog import Schedule
from services.scheduler.timetable import ScheduleError, Timetable

ZONES = sorted(zoneinfo.available_timezones() - {"localtime", "Factory"})


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(schedule: Schedule, start: datetime, end: datetime) -> list[datetime]:
    table, found = Timetable(schedule), list[datetime]()
    moment: datetime | None = start
    while (moment := table.next_after(moment)) is not None and moment <= end:
        found.append(moment)
    return found


def test_interval_is_aligned_to_its_own_boundary() -> None:
    table = Timetable(Schedule(every_seconds=60))
    assert table.next_after(utc("2026-01-01T00:00:30")) == utc("2026-01-01T00:01:00")
    assert table.next_after(utc("2026-01-01T00:01:00")) == utc("2026-01-01T00:02:00")


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        ("*/5 * * * *", "2026-01-01T00:01:00", "2026-01-01T00:05:00"),
        ("*/10 * * * * *", "2026-01-01T00:00:01", "2026-01-01T00:00:10"),
        ("0 9 * * 1", "2026-01-01T00:00:00", "2026-01-05T09:00:00"),
        ("0 9 * * 0", "2026-01-01T00:00:00", "2026-01-04T09:00:00"),
        ("0 9 * * 7", "2026-01-01T00:00:00", "2026-01-04T09:00:00"),
        ("0 9 * * sun", "2026-01-01T00:00:00", "2026-01-04T09:00:00"),
        ("0 9 * * 1-5", "2026-01-02T10:00:00", "2026-01-05T09:00:00"),
        ("0 9 * * 5-1", "2026-01-05T10:00:00", "2026-01-09T09:00:00"),
        ("0 0 1 * *", "2026-01-02T00:00:00", "2026-02-01T00:00:00"),
        ("0 0 29 2 *", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 12 * jan,mar *", "2026-02-01T00:00:00", "2026-03-01T12:00:00"),
        ("@hourly", "2026-01-01T00:00:00", "2026-01-01T01:00:00"),
        ("@Daily", "2026-01-01T00:00:00", "2026-01-02T00:00:00"),
    ],
)
def test_cron_fires_at_the_next_matching_minute(cron: str, after: str, expected: str) -> None:
    assert Timetable(Schedule(cron=cron)).next_after(utc(after)) == utc(expected)


def test_cron_takes_either_day_when_both_are_restricted() -> None:
    """The 13th, or a Friday, as Vixie cron has it."""
    found = times(Schedule(cron="0 0 13 * 5"), utc("2026-02-01T00:00:00"), utc("2026-02-28T00:00:00"))
    assert [each.day for each in found] == [6, 13, 20, 27]


def test_cron_never_fires_when_no_day_matches() -> None:
    assert Timetable(Schedule(cron="0 0 30 2 *")).next_after(utc("2026-01-01T00:00:00")) is None


@pytest.mark.parametrize("zone", ["Europe/Berlin", "local", "UTC", "Z", "+05:30", "-03:00", "America/New_York"])
def test_zone_is_accepted(zone: str) -> None:
    assert Timetable(Schedule(cron="0 0 * * *", timezone=zone)).next_after(utc("2026-01-01T00:00:00"))


def test_fixed_offset_moves_the_time() -> None:
    table = Timetable(Schedule(cron="0 9 * * *", timezone="+05:30"))
    assert table.next_after(utc("2026-01-01T00:00:00")) == utc("2026-01-01T03:30:00")


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule(),
        Schedule(cron="* * * * *", every_seconds=5),
        Schedule(every_seconds=-1),
        Schedule(cron="* * * *"),
        Schedule(cron="61 * * * *"),
        Schedule(cron="a b c d e"),
        Schedule(cron="0 0 * * 8"),
        Schedule(cron="0 0 * * 1/0"),
        Schedule(cron="* * * * *", timezone="Mars/Olympus"),
        Schedule(cron="* * * * *", timezone="+25:00"),
        Schedule(cron="* * * * *", timezone="../etc/passwd"),
    ],
)
def test_schedule_is_refused_when_it_is_not_one(schedule: Schedule) -> None:
    with pytest.raises(ScheduleError):
        Timetable(schedule)


def test_local_time_is_skipped_when_it_does_not_exist() -> None:
    found = times(Schedule(cron="30 2 * * *", timezone="Europe/Berlin"), utc("2026-03-27T12:00:00"), utc("2026-03-31T00:00:00"))
    assert found == [utc("2026-03-28T01:30:00"), utc("2026-03-30T00:30:00")]


def test_local_time_fires_once_when_it_occurs_twice() -> None:
    found = times(Schedule(cron="30 2 * * *", timezone="Europe/Berlin"), utc("2026-10-24T12:00:00"), utc("2026-10-26T12:00:00"))
    assert found == [utc("2026-10-25T00:30:00"), utc("2026-10-26T01:30:00")]


def transition(zone: zoneinfo.ZoneInfo, year: int) -> datetime | None:
    """Return an hour of the year in which the zone's offset changes."""
    moment = datetime(year, 1, 1, tzinfo=UTC)
    while moment.year == year:
        later = moment + timedelta(days=1)
        if moment.astimezone(zone).utcoffset() != later.astimezone(zone).utcoffset():
            return moment
        moment = later
    return None


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(ZONES), st.integers(1975, 2037), st.sampled_from(["*/15 * * * *", "30 * * * *", "10 0-4 * * *"]))
def test_every_existing_local_time_fires_exactly_once_around_a_transition(name: str, year: int, cron: str) -> None:
    zone = zoneinfo.ZoneInfo(name)
    start = transition(zone, year)
    if start is None:
        return
    end = start + timedelta(days=2)
    found = times(Schedule(cron=cron, timezone=name), start, end)
    assert found == sorted(set(found))
    walls = [each.astimezone(zone).replace(tzinfo=None, fold=0) for each in found]
    assert len(walls) == len(set(walls))
    minutes = {int(each) for each in cron.split()[0].split("/")[-1:]} if "/" not in cron else {0, 15, 30, 45}
    hours = range(5) if "0-4" in cron else range(24)
    expected: set[datetime] = set()
    moment = start + timedelta(minutes=1)
    while moment <= end:
        wall = moment.astimezone(zone)
        first = wall.replace(fold=0).astimezone(UTC) == moment
        if wall.second == 0 and wall.minute in minutes and wall.hour in hours and first:
            expected.add(moment)
        moment += timedelta(minutes=1)
    assert set(found) == expected
