#!/usr/bin/env bash
# nginx turns an answer that the origin broke off into one that looks complete.
#
# A server that streams rows (JSON lines, CSV) and fails half-way closes the connection without the last chunk, and
# HTTP clients then report an incomplete body. One would expect nginx in front of it to pass the cut on.
#
# With a plain proxy_pass, nginx asks the origin in HTTP/1.0. There is no chunking in HTTP/1.0; the end of the
# connection is the end of the body, so nginx cannot know that something is missing. To its own client it speaks
# HTTP/1.1 and closes the chunked body properly. The client sees status 200 and a whole answer with 400 rows of 1000.
# `proxy_http_version 1.1` restores the error.
#
# Seen, nginx 1.22.1 and 1.26.3, uvicorn 0.54.0: direct: curl exit status 18, 400 rows; proxy_pass: exit status 0, 400
# rows; with proxy_http_version 1.1: 18, 400 rows.
#
# What it means: the end of a body is no proof that the list has ended. A paging client wants a closing mark in the
# data (the bracket that closes a JSON document, a count), and takes a list without one for unproven.
set -euo pipefail

# shellcheck source=findings/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

# fetched PORT: curl's exit status and the number of rows.
fetched() {
    local status=0
    curl --silent --noproxy '*' "http://127.0.0.1:$1/rows" >"$WORK/rows" || status=$?
    echo "status $status, rows $(wc -l <"$WORK/rows")"
}

cat >"$WORK/rows.py" <<'END'
import asyncio


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/x-ndjson")]})
    for row in range(1000):
        if row == 400:
            await asyncio.sleep(0.3)
            raise RuntimeError("the database went away")
        await send({"type": "http.response.body", "body": b'{"id": %d}\n' % row, "more_body": True})
    await send({"type": "http.response.body"})
END

command -v curl >/dev/null || die "curl is missing"
pip uvicorn==0.54.0
ORIGIN=$(free_port)
(cd "$WORK" && exec "$PYTHON" -m uvicorn --port "$ORIGIN" --log-level critical rows:app) &
SERVERS+=($!)
accepts "$ORIGIN"
expect "direct" "$(fetched "$ORIGIN")" "status 18, rows 400"
for release in bookworm trixie; do
    debian "$release" nginx
    plain=$(free_port) newer=$(free_port)
    {
        echo 'daemon off; pid /srv/nginx.pid; error_log stderr; events {} http { access_log off;'
        for path in client_body proxy fastcgi uwsgi scgi; do echo "${path}_temp_path /srv/$path;"; done
        pass="location / { proxy_pass http://127.0.0.1:$ORIGIN; }"
        echo "server { listen 127.0.0.1:$plain; $pass }"
        echo "server { listen 127.0.0.1:$newer; proxy_http_version 1.1; $pass }"
        echo '}'
    } >"$WORK/$release/srv/nginx.conf"
    inside "$release" nginx -e stderr -c /srv/nginx.conf >"$WORK/nginx-$release.log" 2>&1
    accepts "$newer"
    expect "nginx of $release, proxy_pass" "$(fetched "$plain")" "status 0, rows 400"
    expect "nginx of $release, proxy_http_version 1.1" "$(fetched "$newer")" "status 18, rows 400"
done
echo "as described"
