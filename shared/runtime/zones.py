"""Names of time zones as people of a locale know them."""

from datetime import datetime

from babel import Locale
from babel.dates import get_timezone_gmt, get_timezone_name


def zone_name(local: datetime, locale: Locale) -> str:
    """Return the short name of a time's zone, or its distance from GMT if there is none.

    For people in Germany, Berlin has MEZ; Auckland has no short name there and is at GMT+13:00.
    """
    name: str = get_timezone_name(local, "short", locale=locale)
    if not name.startswith(("+", "-")):
        return name
    distance: str = get_timezone_gmt(local, "long", locale=locale)
    return distance
