import calendar
import time
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

berlin, york = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
meeting = datetime(2024, 3, 31, 1, 30, tzinfo=berlin)
print(meeting, meeting.utcoffset(), (meeting.astimezone(timezone.utc) + timedelta(hours=1)).astimezone(berlin))
print(meeting.astimezone(york).isoformat(), datetime(2024, 10, 27, 2, 30, tzinfo=berlin, fold=1).tzname())
print(date(2024, 2, 29).replace(year=2028), date.fromisoformat("2024-12-30").isocalendar())
print((date(2025, 1, 1) - date(2024, 1, 1)).days, timedelta(days=-1, seconds=5), timedelta(1) / timedelta(hours=7))
print(datetime.fromtimestamp(0, timezone.utc), datetime(2020, 1, 1).strftime("%A %d %B %j %U %p"))
print(time.strftime("%Y-%m-%d", time.gmtime(86400)), time.localtime(0)[:5], time.tzname)
print(calendar.month(2024, 2), calendar.monthrange(2023, 2), calendar.isleap(1900))
try:
    ZoneInfo("Mars/Base")
except Exception as error:
    print(type(error).__name__, error)
try:
    datetime(2024, 1, 1) < datetime(2024, 1, 1, tzinfo=timezone.utc)
except TypeError as error:
    print(error)
