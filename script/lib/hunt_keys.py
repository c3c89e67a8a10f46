#!/usr/bin/env python3
"""Tries everything that a folder holds as a key of a repository's chunks: none may open one.

    hunt_keys.py --store FOLDER --identity FILE --client NAME --folder FOLDER

For what the host that backs up keeps, its whole state folder. Every run of 32 bytes in every file is tried as the key of a
pack; every 64 hex digits, and every run in files up to 64 KiB, as a private key that opens those, and as a root key as
well. The identity serves to prove that the hunt finds what does open. Exits 1 if something in the folder opens a chunk.
"""

import argparse
import importlib.util
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hpke import expand, hmac256, unwrap

spec = importlib.util.spec_from_file_location("reader", os.path.join(HERE, "..", "read-repository.py"))
reader = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reader)


class Hunt:
    def __init__(self, repository):
        repository.load_packs()
        # The smallest: what does not open it would not open another.
        chunk, place = min(repository.chunks.items(), key=lambda c: c[1][4])
        pack, kind, key, offset, length, _, _ = place
        self.chunk, self.kind = chunk, kind
        with open(os.path.join(repository.root, pack), "rb") as f:
            f.seek(offset)
            self.sealed = f.read(length)
        self.epoch, keys = repository.packs[pack]
        self.wrapped = keys[key]
        self.associated = self.epoch.binding(reader.CHUNK, bytes([kind]) + chunk)

    def is_pack_key(self, key):
        try:
            AESGCM(key).decrypt(self.sealed[:12], self.sealed[12:], self.associated)
            return True
        except InvalidTag:
            return False

    def is_private_key(self, key):
        try:
            info = self.epoch.binding(reader.PACK_KEY)
            return self.is_pack_key(unwrap(self.wrapped, X25519PrivateKey.from_private_bytes(key), info))
        except (InvalidTag, ValueError):
            return False

    def is_root_key(self, key):
        prk = hmac256(self.epoch.binding(reader.DERIVATION), key)
        return self.is_private_key(expand(prk, b"x25519", 32))

    def opens(self, data):
        """How many keys were tried, and the one that opens."""
        runs = {data[at : at + 32] for at in range(len(data) - 31)}
        strong = {bytes.fromhex(m.decode()) for m in re.findall(rb"(?=([0-9a-fA-F]{64}))", data)}
        if len(data) <= 1 << 16:
            strong |= runs
        found = next((k for k in runs | strong if self.is_pack_key(k)), None)
        found = found or next((k for k in strong if self.is_private_key(k) or self.is_root_key(k)), None)
        return len(runs | strong), found


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--store", "--identity", "--client", "--folder"):
        ap.add_argument(name, required=True)
    options = ap.parse_args()
    options.command = "hunt"
    repository, _ = reader.find(options, reader.read_identity(options.identity))
    hunt, tried, files, bad = Hunt(repository), 0, 0, []
    assert hunt.opens(b"x" * 9 + hunt.epoch.private.private_bytes_raw() + b"y")[1], "the hunt finds nothing at all"
    for folder, _, names in os.walk(options.folder):
        for name in names:
            with open(os.path.join(folder, name), "rb") as f:
                count, found = hunt.opens(f.read())
            tried, files = tried + count, files + 1
            if found:
                bad.append(os.path.join(folder, name))
    print("%d keys out of %d files tried; %s" % (tried, files, "OPENS: " + ", ".join(bad) if bad else "none opens a chunk"))
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
