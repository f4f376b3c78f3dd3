#!/usr/bin/env bash
# Django REST framework's cursor paging never ends, and hides rows, when more than about a thousand rows share a time.
#
# CursorPagination is the framework's paging for large and growing lists, ordered by a creation time. One would expect
# a client that follows `next` until it is null to meet every row once, ties or not; with a few ties that is so.
#
# Among rows with the same time the cursor holds an offset, and the server cuts every offset to 1000 (offset_cutoff).
# A bulk import in one transaction gives thousands of rows one time. From offset 1000 on, `next` leads to the same
# page again and again: status 200, a full page, a `next` that is not null. The rows beyond are on no page at all. Up
# to 1100 such rows (1000 and a page) nothing is wrong.
#
# Seen, djangorestframework 3.18.3 with Django 5.2.3, pages of 100: 1000 rows of one time: 10 pages, 1000 different,
# the end; 1500 rows: 30 pages were tried, 1100 different rows, and it goes on. The `next` link repeats itself word
# for word.
#
# What it means: a client compares a next link (or the ids of a page) with what it has met and stops with an error
# when it comes back. Otherwise it stores the same 100 rows until somebody looks.
set -euo pipefail

# shellcheck source=findings/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

# walked ROWS: follows `next` for at most 30 pages.
walked() {
    "$PYTHON" - "$1" <<'END'
import sys
from datetime import datetime, timezone
import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework"],
    ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.AutoField")
django.setup()

from django.db import connection, models
from django.urls import path
from rest_framework import generics, pagination, serializers
from rest_framework.test import APIClient


class Event(models.Model):
    created = models.DateTimeField()

    class Meta:
        app_label = "events"


class EventSerializer(serializers.ModelSerializer):
    class Meta:
        model = Event
        fields = ["id", "created"]


class ByTime(pagination.CursorPagination):
    page_size = 100
    ordering = "created"


class Events(generics.ListAPIView):
    queryset = Event.objects.all()
    serializer_class = EventSerializer
    pagination_class = ByTime


urlpatterns = [path("events/", Events.as_view())]
with connection.schema_editor() as editor:
    editor.create_model(Event)
now = datetime.now(timezone.utc)
Event.objects.bulk_create(Event(created=now) for _ in range(int(sys.argv[1])))

client, url, pages, met, repeated = APIClient(), "/events/", 0, set(), False
while url and pages < 30:
    answer = client.get(url).json()
    pages += 1
    met |= {event["id"] for event in answer["results"]}
    repeated = answer["next"] == url
    url = answer["next"]
print(f"{pages} pages, {len(met)} different,", "the same link again" if repeated else "goes on" if url else "ends")
END
}

pip Django==5.2.3 djangorestframework==3.18.3
expect "1000 rows of one time" "$(walked 1000)" "10 pages, 1000 different, ends"
expect "1500 rows of one time" "$(walked 1500)" "30 pages, 1100 different, the same link again"
echo "as described"
