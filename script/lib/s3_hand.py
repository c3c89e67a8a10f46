#!/usr/bin/env python3
"""A hand with a bucket's key, beside drp and with a signer of its own (AWS Signature Version 4).

    s3_hand.py make ENDPOINT ACCESS-FILE SECRET-FILE BUCKET [--locks]
    s3_hand.py attack ENDPOINT ACCESS-FILE SECRET-FILE BUCKET
    s3_hand.py forget-claims ENDPOINT ACCESS-FILE SECRET-FILE BUCKET
    s3_hand.py size ENDPOINT ACCESS-FILE SECRET-FILE BUCKET
    s3_hand.py measure ENDPOINT ACCESS-FILE SECRET-FILE BUCKET MB

`attack` does to all objects of a bucket what a thief can do who holds its key, and prints as JSON what went through:
it tries to end locks and versions, deletes every version, overwrites every name, uploads old objects under new names.
`size` prints the bytes of all objects. `measure` puts random objects of 16 MiB and gets them, four at a time, and removes them.
"""
import base64
import concurrent.futures
import datetime
import hashlib
import hmac
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as xml

NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class Bucket:
    def __init__(self, endpoint, access_file, secret_file, name):
        self.endpoint, self.name = endpoint, name
        with open(access_file, encoding="ascii") as access, open(secret_file, encoding="ascii") as secret:
            self.access, self.secret = access.read().strip(), secret.read().strip()

    def send(self, method, key="", query=(), headers=(), body=b"", payload=None):
        """Returns the status and the body of the answer, whatever it says."""
        path = urllib.parse.quote(f"/{self.name}" + (f"/{key}" if key else ""), safe="/~")
        pairs = sorted((urllib.parse.quote(k, safe="~"), urllib.parse.quote(v, safe="~")) for k, v in query)
        text_query = "&".join(f"{k}={v}" for k, v in pairs)
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{now[:8]}/default/s3/aws4_request"
        payload = payload or hashlib.sha256(body).hexdigest()
        fields = {"host": self.endpoint.split("://")[1], "x-amz-date": now, "x-amz-content-sha256": payload}
        fields.update(dict(headers))
        names = ";".join(sorted(fields))
        lines = "".join(f"{name}:{fields[name]}\n" for name in sorted(fields))
        canonical = "\n".join([method, path, text_query, lines, names, payload])
        text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key_bytes = ("AWS4" + self.secret).encode()
        for part in scope.split("/"):
            key_bytes = hmac.new(key_bytes, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key_bytes, text.encode(), hashlib.sha256).hexdigest()
        fields["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access}/{scope}, SignedHeaders={names}, Signature={signature}")
        del fields["host"]
        url = self.endpoint + path + (f"?{text_query}" if text_query else "")
        request = urllib.request.Request(url, data=body, method=method, headers=fields)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def put_document(self, what, text):
        body = text.encode()
        digest = base64.b64encode(hashlib.md5(body).digest()).decode()
        return self.send("PUT", query=[(what, "")], headers=[("content-md5", digest)], body=body)[0]

    def versions(self):
        """All versions, and marks of deletion, as (key, version, is a mark)."""
        found, marker = [], []
        while True:
            status, body = self.send("GET", query=[("versions", "")] + marker)
            assert status == 200, body
            page = xml.fromstring(body)
            for item in page:
                if item.tag in (NAMESPACE + "Version", NAMESPACE + "DeleteMarker"):
                    found.append((item.findtext(NAMESPACE + "Key"), item.findtext(NAMESPACE + "VersionId"),
                                  item.tag.endswith("DeleteMarker")))
            if page.findtext(NAMESPACE + "IsTruncated") != "true":
                return found
            marker = [("key-marker", page.findtext(NAMESPACE + "NextKeyMarker")),
                      ("version-id-marker", page.findtext(NAMESPACE + "NextVersionIdMarker") or "")]


    def locked_until(self, key, version):
        """As the server writes it; None if no lock holds it."""
        status, body = self.send("GET", key, [("retention", ""), ("versionId", version)])
        if status != 200:
            return None
        # This gateway's answer has no namespace.
        return next((item.text for item in xml.fromstring(body).iter() if item.tag.endswith("RetainUntilDate")), None)

    def forget_claims(self):
        """What time does: claims of dead writers go."""
        for key, version, _ in self.versions():
            if key.startswith("drp-claims/"):
                self.send("DELETE", key, [("versionId", version)])

    def size(self):
        total, token = 0, []
        while True:
            status, body = self.send("GET", query=[("list-type", "2")] + token)
            assert status == 200, body
            page = xml.fromstring(body)
            total += sum(int(item.findtext(NAMESPACE + "Size")) for item in page.iter(NAMESPACE + "Contents"))
            if page.findtext(NAMESPACE + "IsTruncated") != "true":
                return total
            token = [("continuation-token", page.findtext(NAMESPACE + "NextContinuationToken"))]


def measure(bucket, megabytes):
    """What the server takes and gives when the other side does nothing else: bodies are not hashed."""
    bodies = [os.urandom(16 << 20) for _ in range(4)]
    names = [f"limit-{number}" for number in range(max(4, megabytes // 16))]

    def timed(work):
        began = time.time()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            assert all(status < 300 for status in pool.map(work, enumerate(names)))
        return time.time() - began

    put = timed(lambda one: bucket.send("PUT", one[1], body=bodies[one[0] % 4], payload="UNSIGNED-PAYLOAD")[0])
    get = timed(lambda one: bucket.send("GET", one[1])[0])
    timed(lambda one: bucket.send("DELETE", one[1])[0])
    return {"bytes": len(names) << 24, "putSeconds": put, "getSeconds": get}


def attack(bucket):
    went = {"objects": 0, "hidden": 0, "versionsDeleted": 0, "versionsRefused": 0, "locksShortened": 0, "unlocked": [],
            "overwritten": 0, "fakes": 0, "settings": []}
    # What guards the bucket first.
    for what, text in [
        ("versioning", "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"),
        ("object-lock", "<ObjectLockConfiguration></ObjectLockConfiguration>"),
        ("lifecycle", "<LifecycleConfiguration><Rule><ID>end</ID><Filter><Prefix></Prefix></Filter>"
         "<Status>Enabled</Status><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays>"
         "</NoncurrentVersionExpiration></Rule></LifecycleConfiguration>"),
    ]:
        if bucket.put_document(what, text) < 300:
            went["settings"].append(what)
    bypass = [("x-amz-bypass-governance-retention", "true")]
    before = bucket.versions()
    contents = {}
    for key, version, is_mark in before:
        if is_mark:
            continue
        went["objects"] += 1
        if key not in contents:
            contents[key] = bucket.send("GET", key)[1]
        held = bucket.locked_until(key, version)
        soon = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2)).strftime(
            "%Y-%m-%dT%H:%M:%SZ")
        for mode in ("GOVERNANCE", "COMPLIANCE"):
            body = f"<Retention><Mode>{mode}</Mode><RetainUntilDate>{soon}</RetainUntilDate></Retention>".encode()
            bucket.send("PUT", key, [("retention", ""), ("versionId", version)], bypass, body)
        if held is None:
            went["unlocked"].append(key)
        elif bucket.locked_until(key, version) < held:
            went["locksShortened"] += 1
        status, _ = bucket.send("DELETE", key, [("versionId", version)], bypass)
        went["versionsDeleted" if status < 300 else "versionsRefused"] += 1
    for key in contents:
        went["hidden"] += bucket.send("DELETE", key)[0] < 300
    # Half stay away, the others come back as something else.
    for number, key in enumerate(sorted(contents)):
        if number % 2:
            went["overwritten"] += bucket.send("PUT", key, body=b"pay here: " + key.encode())[0] < 300
    # Old backups again, under numbers that come next.
    for key in sorted(k for k in contents if "/backups/" in k):
        folder, name = key.rsplit("/", 1)
        went["fakes"] += bucket.send("PUT", f"{folder}/{int(name) + 50:010}", body=contents[key])[0] < 300
    status, _ = bucket.send("DELETE")
    went["bucketDeleted"] = status < 300
    return went


def main():
    verb, bucket = sys.argv[1], Bucket(*sys.argv[2:6])
    if verb == "make":
        locks = [("x-amz-bucket-object-lock-enabled", "true")] if "--locks" in sys.argv[6:] else []
        status, body = bucket.send("PUT", headers=locks)
        if status >= 300:
            sys.exit(f"status {status}: {body.decode()}")
    elif verb == "attack":
        print(json.dumps(attack(bucket)))
    elif verb == "forget-claims":
        bucket.forget_claims()
    elif verb == "size":
        print(bucket.size())
    elif verb == "measure":
        print(json.dumps(measure(bucket, int(sys.argv[6]))))
    else:
        sys.exit(__doc__)


main()
