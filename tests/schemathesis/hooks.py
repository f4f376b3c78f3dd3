"""Puts identifiers that there are into some requests: one at random is never that of a connection, a job or a schema."""

import os
import re
from collections import deque

import schemathesis

CONNECTION = os.environ["CONNECTION"]
UPSTREAM = os.environ["UPSTREAM_URL"]
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# The newest are the ones that something can still be done with. All jobs are of CONNECTION.
JOBS = deque(maxlen=4)
SCHEMAS = deque(maxlen=4)
# Connections that were made by requests: only these are removed.
SPARE = deque(maxlen=4)


def is_replaced(given):
    # By its last digit, so that a request stays what it was. What is no UUID must stay so: it is to be refused.
    return isinstance(given, str) and UUID.fullmatch(given) and given[-1] in "13579bdf"


def one_of(known, given):
    return known[int(given[-2], 16) % len(known)] if known and is_replaced(given) else given


def operation(context):
    return context.operation.definition.raw.get("operationId")


@schemathesis.hook
def map_body(context, body):
    if not isinstance(body, dict):
        return body
    if operation(context) == "create_source_connection":
        return workable(body)
    if is_replaced(body.get("connection_id")):
        body = {**body, "connection_id": CONNECTION}
    elif "job_id" in body and "connection_id" not in body:
        body = {**body, "job_id": one_of(JOBS, body["job_id"])}
    if "schema_id" in body:
        body = {**body, "schema_id": one_of(SCHEMAS, body["schema_id"])}
    return body


def workable(body):
    # A source's rules are in no schema, so a body that fits it all becomes one that its source can work with, most times.
    name = body.get("name")
    fits = all(isinstance(body.get(field), str) for field in ("name", "source", "base_url"))
    fits = fits and isinstance(body.get("credentials"), dict) and isinstance(body.get("settings", {}), dict | None)
    if not fits or not 1 <= len(name) <= 200 or len(name) % 4 == 3:
        return body
    return {**body, "source": "ultravox", "base_url": UPSTREAM, "credentials": {"api_key": "key-tenant-1"}, "settings": {}}


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    if not path_parameters:
        return path_parameters
    replaced = dict(path_parameters)
    if "connection" in replaced:
        if operation(context) == "delete_source_connection":
            replaced["connection"] = one_of(SPARE, replaced["connection"])
        elif is_replaced(replaced["connection"]):
            replaced["connection"] = CONNECTION
    for name, known in ("job", JOBS), ("id", SCHEMAS if operation(context) == "show_schema" else JOBS):
        if name in replaced:
            replaced[name] = one_of(known, replaced[name])
    return replaced


@schemathesis.hook
def after_call(context, case, response):
    if case.method != "POST" or response.status_code not in (200, 201, 202):
        return
    answer = response.json()
    made = {"create_source_connection": SPARE, "create_schema": SCHEMAS}.get(operation(context), JOBS)
    made.append(answer.get("job_id") or answer["id"])
