"""The hotel catalogue: a SQLite database, built from `data/hotels.jsonl` whenever that file changes.

The hotels and their guests are invented; the towns are real. One line of the file is one hotel.
"""

import math
import os
import sqlite3
import tempfile
import unicodedata
from collections.abc import Iterable
from contextlib import closing
from datetime import date
from pathlib import Path
from statistics import mean

from .models import Hotel

SOURCE = Path(__file__).parent / "data" / "hotels.jsonl"
EARTH_RADIUS_KM = 6371.0
BEACH_WALK_M_MAX = 800
"""Further than this and nobody calls it a beach hotel."""

SCHEMA = """
CREATE TABLE hotel (
    id TEXT PRIMARY KEY, town TEXT, region TEXT, country TEXT, latitude REAL, longitude REAL,
    price REAL, beach_m INTEGER, sleeps INTEGER, opens INTEGER, closes INTEGER, document TEXT NOT NULL
);
CREATE INDEX hotel_by_position ON hotel (latitude, longitude);
"""
CANDIDATES = """
SELECT document, distance_km(latitude, longitude, :latitude, :longitude) AS km FROM hotel
WHERE (:latitude IS NOT NULL AND km <= :near_km
    OR :latitude IS NULL AND :place IN (fold(town), fold(region), fold(country)))
  AND (:price_max IS NULL OR price <= :price_max)
  AND (NOT :beach OR beach_m <= :beach_walk_m_max)
  AND sleeps >= :sleeps
  AND opens <= :first_month AND :last_month <= closes
ORDER BY km, price, id LIMIT :limit
"""


def search(
    place: str,
    check_in: date,
    check_out: date,
    latitude: float | None = None,
    longitude: float | None = None,
    near_km: float = 20.0,
    beach: bool = False,
    price_max: float | None = None,
    guests: int = 2,
    limit: int = 40,
) -> list[Hotel]:
    """Hotels open then and big enough, the nearest first. Without coordinates `place` goes by its name."""
    with closing(connect()) as database:
        if latitude is None or longitude is None:
            latitude, longitude = _town_centre(database, place)
        rows = database.execute(
            CANDIDATES,
            {
                "place": fold(place),
                "latitude": latitude,
                "longitude": longitude,
                "near_km": near_km,
                "price_max": price_max,
                "beach": beach,
                "beach_walk_m_max": BEACH_WALK_M_MAX,
                "sleeps": guests,
                "first_month": min(check_in.month, check_out.month),
                "last_month": max(check_in.month, check_out.month),
                "limit": limit,
            },
        ).fetchall()
    return [_hotel(document, km) for document, km in rows]


def connect() -> sqlite3.Connection:
    path = _built()
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    database.create_function("distance_km", 4, distance_km, deterministic=True)
    database.create_function("fold", 1, fold, deterministic=True)
    return database


def every_hotel() -> list[Hotel]:
    return [Hotel.model_validate_json(line) for line in SOURCE.read_text("utf-8").splitlines()]


def distance_km(
    latitude: float, longitude: float, to_latitude: float | None, to_longitude: float | None
) -> float | None:
    """Along a great circle, by the haversine formula."""
    if to_latitude is None or to_longitude is None:
        return None
    a, b = math.radians(latitude), math.radians(to_latitude)
    half = (b - a) / 2, math.radians(to_longitude - longitude) / 2
    chord = math.sin(half[0]) ** 2 + math.cos(a) * math.cos(b) * math.sin(half[1]) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(chord))


def fold(text: str) -> str:
    """Without case and accents: `Setúbal` and `SETUBAL` are one place."""
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))


def _town_centre(database: sqlite3.Connection, place: str) -> tuple[float | None, float | None]:
    rows = database.execute(
        "SELECT latitude, longitude FROM hotel WHERE fold(town) = ?", (fold(place),)
    ).fetchall()
    return (mean(r[0] for r in rows), mean(r[1] for r in rows)) if rows else (None, None)


def _hotel(document: str, km: float | None) -> Hotel:
    found = Hotel.model_validate_json(document)
    return found if km is None else found.model_copy(update={"distance_km": round(km, 1)})


def _built() -> Path:
    """The database's file. It is built beside its place and moved there, so that nobody reads half of it."""
    folder = state_folder()
    path = folder / f"hotels-{SOURCE.stat().st_mtime_ns}.db"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            draft = Path(temporary) / path.name
            _build(draft, every_hotel())
            draft.replace(path)
    return path


def _build(path: Path, hotels: Iterable[Hotel]) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(SCHEMA)
        database.executemany(
            "INSERT INTO hotel VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    *(h.id, h.town, h.region, h.country, h.latitude, h.longitude, h.price),
                    *(h.beach_m, h.sleeps, *h.open_months, h.model_dump_json()),
                )
                for h in hotels
            ],
        )


def state_folder() -> Path:
    """Where this example keeps its databases."""
    folder = Path(os.environ.get("SEGUE_STATE_DIR", ".segue")) / "travel"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
