#!/usr/bin/env python3
"""Makes a bucket at the test gateway, with an independent signer (AWS Signature Version 4).

    make_bucket.py ENDPOINT ACCESS-FILE SECRET-FILE BUCKET [--locks]
"""
import datetime
import hashlib
import hmac
import sys
import urllib.request


def signed(method, endpoint, path, access, secret, headers, region="default"):
    time = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{time[:8]}/{region}/s3/aws4_request"
    payload = hashlib.sha256(b"").hexdigest()
    all_headers = {
        "host": endpoint.split("://")[1], "x-amz-date": time, "x-amz-content-sha256": payload, **headers}
    names = ";".join(sorted(all_headers))
    lines = "".join(f"{name}:{all_headers[name]}\n" for name in sorted(all_headers))
    canonical = "\n".join([method, path, "", lines, names, payload])
    text = "\n".join(["AWS4-HMAC-SHA256", time, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    all_headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={access}/{scope}, SignedHeaders={names}, Signature={signature}")
    del all_headers["host"]
    return urllib.request.Request(endpoint + path, data=b"", method=method, headers=all_headers)


def main():
    endpoint, access, secret, bucket = sys.argv[1:5]
    headers = {"x-amz-bucket-object-lock-enabled": "true"} if "--locks" in sys.argv[5:] else {}
    with open(access, encoding="ascii") as one, open(secret, encoding="ascii") as other:
        request = signed("PUT", endpoint, f"/{bucket}", one.read().strip(), other.read().strip(), headers)
    with urllib.request.urlopen(request, timeout=30):
        pass


main()
