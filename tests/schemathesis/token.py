"""Prints a JSON Web Token of the user `fuzz`, signed with the secret of this run."""

import base64
import hashlib
import hmac
import json
import os
import time


def part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


claims = {
    "sub": "fuzz",
    "iss": os.environ["BACKHAUL__AUTH__ISSUER"],
    "aud": os.environ["BACKHAUL__AUTH__AUDIENCE"],
    "exp": int(time.time()) + 3600,
}
signed = ".".join(part(json.dumps(each).encode()) for each in ({"alg": "HS256", "typ": "JWT"}, claims))
secret = os.environ["BACKHAUL__AUTH__HS256_SECRET"].encode()
print(f"{signed}.{part(hmac.digest(secret, signed.encode(), hashlib.sha256))}")
