#!/usr/bin/env bash
# One empty object in a list of records makes an Airbyte low-code connector stop reading and exit with status 0.
#
# A low-code (declarative) connector pages through a JSON API and writes records and statuses. One would expect a
# record that it cannot use to be skipped, or the read to fail.
#
# With airbyte-cdk 7.39.1, `{"items": [{"id": 10}, …, {}, …]}` on page 2 of 4 ends the output right there: no later
# record of that page or of any other is written, although all pages are still fetched. No error is raised or logged;
# the last line is "Finished syncing" and the exit status is 0. Only the stream's status COMPLETE is missing. A page 2
# that is HTML with status 200, as a maintenance page is, goes further: it counts as a page without records and thus
# as the end of the list. The stream even becomes COMPLETE; one ERROR line in the log is all.
#
# Seen, 4 pages of 10 records: as they should be: 40 records, COMPLETE, exit status 0; one empty object: 14 records,
# not COMPLETE, exit status 0; HTML as page 2: 10 records, COMPLETE, exit status 0.
#
# What it means: judge such a run by the status of each stream and by a count from elsewhere, never by its exit
# status. In a client of your own, an answer that cannot be read is a failure of the page and not an empty page.
set -euo pipefail

# shellcheck source=findings/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

cat >"$WORK/connector.py" <<'END'
import json, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

from airbyte_cdk.entrypoint import launch
from airbyte_cdk.models import ConfiguredAirbyteCatalogSerializer
from airbyte_cdk.sources.declarative.concurrent_declarative_source import ConcurrentDeclarativeSource

second_page = sys.argv[1]


class Items(BaseHTTPRequestHandler):
    def do_GET(self):
        page = int(parse_qs(urlparse(self.path).query).get("page", ["1"])[0])
        items = [{"id": 10 * page + i} for i in range(10)] if page <= 4 else []
        if page == 2 and second_page == "empty-object":
            items[4] = {}
        body = json.dumps({"items": items})
        if page == 2 and second_page == "html":
            body = "<html><body>Back in five minutes</body></html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Items)
threading.Thread(target=server.serve_forever, daemon=True).start()
manifest = {
    "version": "6.0.0",
    "type": "DeclarativeSource",
    "check": {"type": "CheckStream", "stream_names": ["items"]},
    "spec": {"type": "Spec", "connection_specification": {"type": "object"}},
    "streams": [{
        "type": "DeclarativeStream",
        "name": "items",
        "primary_key": "id",
        "schema_loader": {"type": "InlineSchemaLoader", "schema": {"type": "object"}},
        "retriever": {
            "type": "SimpleRetriever",
            "requester": {
                "type": "HttpRequester", "url_base": f"http://127.0.0.1:{server.server_port}/", "path": "items"},
            "record_selector": {
                "type": "RecordSelector", "extractor": {"type": "DpathExtractor", "field_path": ["items"]}},
            "paginator": {
                "type": "DefaultPaginator",
                "page_token_option": {
                    "type": "RequestOption", "inject_into": "request_parameter", "field_name": "page"},
                "pagination_strategy": {"type": "PageIncrement", "page_size": 10, "start_from_page": 1}},
        },
    }],
}
catalog = {"streams": [{
    "stream": {"name": "items", "json_schema": {}, "supported_sync_modes": ["full_refresh"]},
    "sync_mode": "full_refresh",
    "destination_sync_mode": "overwrite",
}]}
json.dump(catalog, open("catalog.json", "w"))
json.dump({}, open("config.json", "w"))
source = ConcurrentDeclarativeSource(
    catalog=ConfiguredAirbyteCatalogSerializer.load(catalog), config={}, state=[], source_config=manifest)
launch(source, ["read", "--config", "config.json", "--catalog", "catalog.json"])
END

# output PAGE2: what the connector writes.
output() {
    local exit_status=0 stream=incomplete
    (cd "$WORK" && no_proxy=127.0.0.1 "$PYTHON" connector.py "$1" >output 2>errors) || exit_status=$?
    ! grep -q '"status":"COMPLETE"' "$WORK/output" || stream=COMPLETE
    echo "$(grep -c '"type":"RECORD"' "$WORK/output") records, $stream, exit status $exit_status"
}

pip airbyte-cdk==7.39.1
expect "pages as they should be" "$(output good)" "40 records, COMPLETE, exit status 0"
expect "one empty object" "$(output empty-object)" "14 records, incomplete, exit status 0"
expect "HTML as page 2" "$(output html)" "10 records, COMPLETE, exit status 0"
echo "as described"
