#!/usr/bin/env python3
"""A stand-in for Azure Blob storage. It is not Azure: it holds blobs in memory and knows the requests that drp makes.

    azure_blob.py serve STATE PORT TLS-PORT      reads STATE/accounts, STATE/*.key and STATE/server.pem
    azure_blob.py sign ACCOUNT KEY METHOD URL ['name: value'...]     prints the Authorization header of the Azure SDK

A request is let in if its Authorization is exactly what the code of the Azure SDK (azure-storage-blob) makes of it, or if
its SAS is the one that this code makes of the same fields. Everything else follows Microsoft's REST reference and two
measurements by others (kopia's Azure store: a protected current version cannot be deleted, though overwritten; the mark of
a deletion has a version ID of its own). What Azure does on its own, as lifecycle rules, tiers, throttling or replication,
is not here. Accounts, one a line in STATE/accounts: NAME plain|versions|locks|bin (locks: version-level immutability in
all containers, which needs versions; bin: versions, and deleted ones are kept, as by soft delete).
"""
import base64
import datetime
import hashlib
import http.server
import pathlib
import ssl
import sys
import threading
import urllib.parse
import uuid
import xml.etree.ElementTree as xml
from email.utils import formatdate, parsedate_to_datetime
from types import SimpleNamespace

from azure.core.pipeline.transport import HttpRequest
from azure.storage.blob._shared.authentication import SharedKeyCredentialPolicy
from azure.storage.blob._shared_access_signature import BlobSharedAccessSignature

UTC = datetime.timezone.utc
SKEW = datetime.timedelta(minutes=15)
PAGE = 500  # Azure may end a page before maxresults; this one does.


def authorization(account, key, method, url, headers):
    """What the SDK would put in the Authorization header."""
    request = HttpRequest(method, url)
    request.headers.update({name.lower(): value for name, value in headers.items()
                            if name.lower() not in ("authorization", "host")})
    call = SimpleNamespace(http_request=request, context=SimpleNamespace(transport=None, options={}))
    SharedKeyCredentialPolicy(account, key).on_request(call)
    return request.headers["Authorization"]


class Refusal(Exception):
    def __init__(self, status, code, **details):
        super().__init__(code)
        self.status, self.code, self.details = status, code, details


class Version:
    def __init__(self, data, clock):
        self.data = data
        self.md5 = base64.b64encode(hashlib.md5(data).digest()).decode()
        self.etag = '"0x%s"' % uuid.uuid4().hex[:15].upper()
        self.written = clock
        self.id = None
        self.until = self.mode = None
        self.deleted = False

    def protected(self, now):
        return self.until is not None and self.until > now


class Blob:
    """Versions from the oldest on; `current` is one of them, or none after a deletion, of which `mark` is the ID."""

    def __init__(self):
        self.versions, self.current, self.mark = [], None, None


class Account:
    def __init__(self, name, kind, key):
        self.name, self.key = name, key
        self.keeps_versions = kind != "plain"
        self.locks = kind == "locks"
        self.has_bin = kind == "bin"
        self.containers = {}
        self.last = datetime.datetime.now(UTC)

    def moment(self):
        """A time that no version had before, since IDs are times."""
        self.last = max(datetime.datetime.now(UTC), self.last + datetime.timedelta(microseconds=1))
        return self.last


def version_id(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


def http_date(moment):
    return formatdate(moment.timestamp(), usegmt=True)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer goes in one piece: its second one would wait for the client's word of the first.
    wbufsize, disable_nagle_algorithm = -1, True
    server_version, sys_version = "Windows-Azure-Blob/1.0", "stand-in"
    accounts, lock = {}, threading.Lock()

    def log_message(self, *_):
        pass

    # --- answers

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        self.send_header("x-ms-request-id", str(uuid.uuid4()))
        self.send_header("x-ms-version", self.headers.get("x-ms-version", "2021-12-02"))
        self.send_header("Content-Length", str(headers.pop("length", len(body))))
        for name, value in headers.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def document(self, root):
        # With the mark of byte order, as Azure's begin.
        return b"\xef\xbb\xbf" + xml.tostring(root, encoding="utf-8", xml_declaration=True)

    def refuse(self, refusal):
        root = xml.Element("Error")
        xml.SubElement(root, "Code").text = refusal.code
        xml.SubElement(root, "Message").text = "It is refused.\nRequestId:0\nTime:" + version_id(datetime.datetime.now(UTC))
        for name, text in refusal.details.items():
            xml.SubElement(root, name).text = text
        self.answer(refusal.status, self.document(root), x_ms_error_code=refusal.code, Content_Type="application/xml")

    # --- requests

    def handle_one(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        names = urllib.parse.unquote(parts.path).lstrip("/").split("/")
        host = self.headers["Host"].split(":")[0].split(".")[0]
        self.now = datetime.datetime.now(UTC)
        try:
            # host.of.the.account/container/blob, or the account in the path, as emulators have it.
            account = self.accounts.get(host) or self.accounts.get(names.pop(0))
            if account is None or not names:
                raise Refusal(404, "ResourceNotFound")
            container, name = names[0], "/".join(names[1:])
            allowed = self.permissions(account, container, parts)
            with self.lock:
                if name:
                    self.blob(account, container, name, body, allowed)
                else:
                    self.container(account, container, allowed)
        except Refusal as refusal:
            self.refuse(refusal)

    do_GET = do_PUT = do_HEAD = do_DELETE = handle_one

    # --- who asks

    def permissions(self, account, container, parts):
        """None for the key's holder, who may do all; else the letters of the SAS."""
        if "sig" in self.query:
            return self.sas(account, container)
        date = self.headers.get("x-ms-date")
        if not self.headers.get("Authorization") or not date:
            raise Refusal(401, "NoAuthenticationInformation")
        if abs(parsedate_to_datetime(date) - self.now) > SKEW:
            raise Refusal(403, "AuthenticationFailed",
                          AuthenticationErrorDetail="Request date header too old: '%s'" % date)
        url = "http://%s%s" % (self.headers["Host"], self.path)
        expected = authorization(account.name, account.key, self.command, url, dict(self.headers.items()))
        if self.headers["Authorization"] != expected:
            raise Refusal(403, "AuthenticationFailed", AuthenticationErrorDetail="The MAC signature differs.")
        return None

    def sas(self, account, container):
        fields = self.query
        made = BlobSharedAccessSignature(account.name, account.key)
        made.x_ms_version = fields.get("sv")
        token = dict(urllib.parse.parse_qsl(made.generate_container(
            container, permission=fields.get("sp"), expiry=fields.get("se"), start=fields.get("st"),
            ip=fields.get("sip"), protocol=fields.get("spr"))))
        if fields.get("sr") != "c" or token["sig"] != fields["sig"]:
            raise Refusal(403, "AuthenticationFailed", AuthenticationErrorDetail="Signature did not match.")
        for name, is_wrong in (("st", lambda t: t > self.now), ("se", lambda t: t < self.now)):
            if name in fields and is_wrong(datetime.datetime.fromisoformat(fields[name].replace("Z", "+00:00"))):
                raise Refusal(403, "AuthenticationFailed",
                              AuthenticationErrorDetail="Signature not valid in the specified time frame")
        return fields.get("sp", "")

    @staticmethod
    def need(allowed, letters):
        if allowed is not None and not set(letters) & set(allowed):
            raise Refusal(403, "AuthorizationPermissionMismatch")

    # --- containers

    def container(self, account, name, allowed):
        containers = account.containers
        if self.query.get("restype") != "container":
            raise Refusal(400, "InvalidQueryParameterValue")
        if self.query.get("comp") == "list":
            self.need(allowed, "l")
            return self.list(account, self.existing(account, name))
        if allowed is not None:
            # A service SAS of a container reaches its blobs alone.
            raise Refusal(403, "AuthorizationFailure")
        if self.command == "PUT":
            if name in containers:
                raise Refusal(409, "ContainerAlreadyExists")
            containers[name] = {}
            return self.answer(201, ETag='"0x1"')
        self.existing(account, name)
        if self.command == "DELETE":
            del containers[name]
            return self.answer(202)
        return self.answer(
            200, ETag='"0x1"', x_ms_has_immutability_policy="false", x_ms_has_legal_hold="false",
            x_ms_immutable_storage_with_versioning_enabled=str(account.locks).lower())

    @staticmethod
    def existing(account, name):
        if name not in account.containers:
            raise Refusal(404, "ContainerNotFound")
        return account.containers[name]

    def list(self, account, blobs):
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter", "")
        include = self.query.get("include", "").split(",")
        rows, seen = [], set()
        for name in sorted(blobs):
            if not name.startswith(prefix):
                continue
            cut = name.find(delimiter, len(prefix)) if delimiter else -1
            if cut >= 0:
                if blobs[name].current is not None and name[:cut + 1] not in seen:
                    seen.add(name[:cut + 1])
                    rows.append((name[:cut + 1], None, None))
                continue
            rows += [(name, blobs[name], version) for version in self.shown(blobs[name], include)]
        # A marker names the row to begin with: rows before it may go meanwhile.
        marker = base64.urlsafe_b64decode(self.query.get("marker", "")).decode()
        first = next((at for at, row in enumerate(rows) if self.place(row) >= marker), len(rows)) if marker else 0
        limit = min(int(self.query.get("maxresults", 5000)), PAGE)
        if limit < 1:
            raise Refusal(400, "OutOfRangeQueryParameterValue")
        root = xml.Element("EnumerationResults", ContainerName="c")
        found = xml.SubElement(root, "Blobs")
        for row in rows[first:first + limit]:
            self.row(found, *row)
        more = rows[first + limit:first + limit + 1]
        marker = base64.urlsafe_b64encode(self.place(more[0]).encode()).decode() if more else ""
        xml.SubElement(root, "NextMarker").text = marker
        self.answer(200, self.document(root), Content_Type="application/xml")

    @staticmethod
    def place(row):
        name, blob, version = row
        return name + "\0" + ((version.id or "~") if version else "~~" if blob else "")

    @staticmethod
    def shown(blob, include):
        if "versions" in include:
            yield from (version for version in blob.versions if not version.deleted)
            if blob.current is not None and blob.current not in blob.versions:
                yield blob.current
        elif blob.current is not None:
            yield blob.current
        if "deletedwithversions" in include and blob.current is None and blob.mark and blob.versions:
            yield None

    @staticmethod
    def row(found, name, blob, version):
        if blob is None:
            xml.SubElement(xml.SubElement(found, "BlobPrefix"), "Name").text = name
            return
        row = xml.SubElement(found, "Blob")
        xml.SubElement(row, "Name").text = name
        shown = version or blob.versions[-1]
        number = shown.id if version else blob.mark
        if number:
            xml.SubElement(row, "VersionId").text = number
        if version is not None and version is blob.current and number:
            xml.SubElement(row, "IsCurrentVersion").text = "true"
        if version is None:
            xml.SubElement(row, "HasVersionsOnly").text = "true"
        properties = xml.SubElement(row, "Properties")
        for field, text in (("Last-Modified", http_date(shown.written)), ("Etag", shown.etag.strip('"')),
                            ("Content-Length", str(len(shown.data))), ("Content-MD5", shown.md5),
                            ("BlobType", "BlockBlob")):
            xml.SubElement(properties, field).text = text

    # --- blobs

    def blob(self, account, container, name, body, allowed):
        blobs = self.existing(account, container)
        policy = self.query.get("comp") == "immutabilityPolicies"
        if self.command == "PUT" and not policy:
            return self.put(account, blobs, name, body, allowed)
        if policy:
            self.need(allowed, "i")
        elif self.command == "DELETE":
            self.need(allowed, "x" if "versionid" in self.query else "d")
        else:
            self.need(allowed, "r")
        blob = blobs.get(name)
        version = self.version(blob)
        if policy:
            return self.policy(account, version)
        if self.command == "DELETE":
            return self.delete(account, blobs, name, blob, version)
        return self.get(blob, version)

    def version(self, blob):
        wanted = self.query.get("versionid")
        found = [] if blob is None else [
            one for one in blob.versions + [blob.current]
            if one is not None and not one.deleted and (one.id == wanted if wanted else one is blob.current)]
        if not found:
            raise Refusal(404, "BlobNotFound")
        return found[0]

    def put(self, account, blobs, name, body, allowed):
        if self.headers.get("x-ms-blob-type") != "BlockBlob":
            raise Refusal(400, "InvalidHeaderValue")
        blob = blobs.get(name) or Blob()
        current = blob.current
        self.need(allowed, "cw" if current is None else "w")
        digest = self.headers.get("Content-MD5")
        version = Version(body, account.moment())
        if digest and digest != version.md5:
            raise Refusal(400, "Md5Mismatch")
        if self.headers.get("If-None-Match") == "*" and current is not None:
            raise Refusal(409, "BlobAlreadyExists")
        match = self.headers.get("If-Match")
        if match and (current is None or (match != "*" and match != current.etag)):
            raise Refusal(412, "ConditionNotMet")
        if "x-ms-immutability-policy-until-date" in self.headers:
            self.need(allowed, "i")
            if not account.locks:
                raise Refusal(409, "FeatureNotSupported")  # Azure's own code for it is not documented
            # "Upload a blob with a custom policy: blob is uploaded with custom unlocked policy", says the concept page.
            self.set_policy(version, "unlocked")
        if account.keeps_versions:
            version.id = version_id(version.written)
            blob.versions.append(version)
        blob.current, blob.mark = version, None
        blobs[name] = blob
        self.answer(201, ETag=version.etag, Last_Modified=http_date(version.written), Content_MD5=version.md5,
                    x_ms_version_id=version.id)

    def set_policy(self, version, mode):
        try:
            until = parsedate_to_datetime(self.headers["x-ms-immutability-policy-until-date"])
        except (TypeError, ValueError):
            raise Refusal(400, "InvalidHeaderValue") from None
        if mode not in ("locked", "unlocked") or until <= self.now:
            raise Refusal(400, "InvalidHeaderValue")
        if version.mode == "locked" and (mode != "locked" or until < version.until):
            raise Refusal(409, "BlobImmutableDueToPolicy")
        version.until, version.mode = until, mode

    def policy(self, account, version):
        if not account.locks:
            raise Refusal(409, "FeatureNotSupported")
        if self.command == "PUT":
            self.set_policy(version, self.headers.get("x-ms-immutability-policy-mode", "unlocked").lower())
        else:
            if version.mode == "locked":
                raise Refusal(409, "BlobImmutableDueToPolicy")
            version.until = version.mode = None
        self.answer(200, x_ms_immutability_policy_mode=version.mode,
                    x_ms_immutability_policy_until_date=http_date(version.until) if version.until else None)

    def delete(self, account, blobs, name, blob, version):
        if "versionid" in self.query and version is blob.current:
            raise Refusal(403, "OperationNotAllowedOnRootBlob")
        if version.protected(self.now):
            raise Refusal(409, "BlobImmutableDueToPolicy")
        permanent = True
        if "versionid" not in self.query:
            blob.current = None
            if account.keeps_versions:
                blob.mark = version_id(account.moment())
                if version not in blob.versions:
                    version.id = version_id(version.written)
                    blob.versions.append(version)
        elif account.has_bin:
            version.deleted, permanent = True, False
        else:
            blob.versions.remove(version)
        if blob.current is None and not blob.versions:
            del blobs[name]
        self.answer(202, x_ms_delete_type_permanent=str(permanent).lower())

    def get(self, blob, version):
        data = version.data
        common = dict(
            ETag=version.etag, x_ms_blob_type="BlockBlob", Last_Modified=http_date(version.written), Accept_Ranges="bytes",
            x_ms_version_id=version.id, x_ms_immutability_policy_mode=version.mode,
            x_ms_immutability_policy_until_date=http_date(version.until) if version.until else None)
        if version.id and version is blob.current:
            common["x_ms_is_current_version"] = "true"
        wanted = self.headers.get("x-ms-range") or self.headers.get("Range")
        if wanted and self.command == "GET":
            first, last = wanted.split("=")[1].split("-")
            first, last = int(first), min(int(last or len(data) - 1), len(data) - 1)
            if first >= len(data):
                raise Refusal(416, "InvalidRange")
            return self.answer(206, data[first:last + 1], x_ms_blob_content_md5=version.md5,
                               Content_Range="bytes %d-%d/%d" % (first, last, len(data)), **common)
        self.answer(200, data, length=len(data), Content_MD5=version.md5, **common)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 128

    def __init__(self, port, context=None):
        self.context = context
        super().__init__(("127.0.0.1", port), Handler)

    def finish_request(self, request, client_address):
        # The handshake is made here, in the thread of the connection: a stranger's must not hold the others up.
        if self.context:
            request = self.context.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def handle_error(self, request, client_address):
        pass


def serve(state, port, tls_port):
    state = pathlib.Path(state)
    for line in (state / "accounts").read_text().splitlines():
        name, kind = line.split()
        Handler.accounts[name] = Account(name, kind, (state / (name + ".key")).read_text().strip())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(state / "server.pem")
    tls = Server(int(tls_port), context)
    threading.Thread(target=tls.serve_forever, daemon=True).start()
    server = Server(int(port))
    print("blob service ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(*sys.argv[2:5])
    else:
        print(authorization(*sys.argv[2:6], dict(part.split(": ", 1) for part in sys.argv[6:])))
