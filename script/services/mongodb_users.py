"""Makes the one-member replica set and the users of a server that script/services/mongodb has just started.

mongodb_users.py STATE      reads STATE/uri.USER and STATE/mongod.yaml
"""

import pathlib
import sys
import time

from pymongo import MongoClient
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

ROLES = {
    "admin": ["root"],
    "backup": ["backup"],
    "restorer": ["backup", "restore"],
    "app": [{"role": "readWrite", "db": "app"}],
}


def await_primary(client, seconds=60):
    end = time.monotonic() + seconds
    while True:
        try:
            if client.admin.command("hello").get("isWritablePrimary"):
                return
        except PyMongoError:
            pass
        if time.monotonic() > end:
            raise SystemExit("no primary within %d s" % seconds)
        time.sleep(0.05)


def main():
    state = pathlib.Path(sys.argv[1])
    uris = {user: (state / ("uri." + user)).read_text().strip() for user in ROLES}
    host, port = parse_uri(uris["admin"], validate=False)["nodelist"][0]
    tls = {"tls": True, "tlsCAFile": str(state / "ca.pem")} if (state / "ca.pem").exists() else {}
    local = MongoClient(host, port, directConnection=True, serverSelectionTimeoutMS=10000, **tls)
    if "replication:" in (state / "mongod.yaml").read_text():
        members = [{"_id": 0, "host": "%s:%d" % (host, port)}]
        local.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
    await_primary(local)
    create(local, "admin", uris)
    admin = MongoClient(uris["admin"], serverSelectionTimeoutMS=10000)
    for user in ROLES:
        if user != "admin":
            create(admin, user, uris)


def create(client, user, uris):
    client.admin.command(
        "createUser",
        user,
        pwd=parse_uri(uris[user], validate=False)["password"],
        roles=ROLES[user],
        customData={"managedBy": "services"},
    )


if __name__ == "__main__":
    main()
