#!/usr/bin/env python3
"""Bech32 (BIP 173) and HPKE (RFC 9180) for script/read-repository.py, by hand.

    hpke.py VECTORS        runs both against published test vectors: a file as Tests/Fixtures/hpke-vectors.json
"""

import hashlib
import hmac
import json
import struct
import sys

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# Bech32 (BIP 173, without its limit of length)

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def polymod(values):
    total = 1
    for value in values:
        top = total >> 25
        total = (total & 0x1FFFFFF) << 5 ^ value
        for bit, term in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            total ^= term if top >> bit & 1 else 0
    return total


def expanded(prefix):
    return [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]


def bech32(prefix, data):
    number, size = int.from_bytes(data, "big"), -(-len(data) * 8 // 5)
    number <<= size * 5 - len(data) * 8
    values = [number >> 5 * (size - 1 - i) & 31 for i in range(size)]
    check = polymod(expanded(prefix) + values + [0] * 6) ^ 1
    return prefix + "1" + "".join(ALPHABET[v] for v in values + [check >> 5 * (5 - i) & 31 for i in range(6)])


def unbech32(prefix, text):
    """The bytes, or None unless prefix, checksum, padding and case (all of one) are right."""
    digits = text.lower()[len(prefix) + 1 :]
    if text not in (text.lower(), text.upper()) or not text.lower().startswith(prefix + "1"):
        return None
    if len(digits) < 6 or any(c not in ALPHABET for c in digits):
        return None
    values = [ALPHABET.index(c) for c in digits]
    spare = (len(values) - 6) * 5 % 8
    number = 0
    for value in values[:-6]:
        number = number << 5 | value
    if polymod(expanded(prefix) + values) != 1 or spare > 4 or number & (1 << spare) - 1:
        return None
    return (number >> spare).to_bytes((len(values) - 6) * 5 // 8, "big")


# HKDF (RFC 5869) and HPKE (RFC 9180): base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM

KEM_SUITE = b"KEM" + struct.pack(">H", 0x0020)
HPKE_SUITE = b"HPKE" + struct.pack(">HHH", 0x0020, 0x0001, 0x0002)


def hmac256(key, data):
    return hmac.new(key, data, "sha256").digest()


def expand(key, info, length):
    out = block = b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac256(key, block + info + bytes([counter]))
        out += block
    return out[:length]


def labeled_extract(suite, salt, label, key):
    return hmac256(salt, b"HPKE-v1" + suite + label + key)


def labeled_expand(suite, key, label, info, length):
    return expand(key, struct.pack(">H", length) + b"HPKE-v1" + suite + label + info, length)


def hpke_schedule(private, encapsulated, info):
    """Shared secret, key and base nonce of the recipient's side."""
    public = private.public_key().public_bytes_raw()
    dh = private.exchange(X25519PublicKey.from_public_bytes(encapsulated))  # refuses a result of zeros
    eae = labeled_extract(KEM_SUITE, b"", b"eae_prk", dh)
    shared = labeled_expand(KEM_SUITE, eae, b"shared_secret", encapsulated + public, 32)
    hashes = [labeled_extract(HPKE_SUITE, b"", *pair) for pair in ((b"psk_id_hash", b""), (b"info_hash", info))]
    context = b"\0" + b"".join(hashes)
    secret = labeled_extract(HPKE_SUITE, shared, b"secret", b"")
    key = labeled_expand(HPKE_SUITE, secret, b"key", context, 32)
    return shared, key, labeled_expand(HPKE_SUITE, secret, b"base_nonce", context, 12)


def unwrap(wrapped, private, info):
    """Opens the first message: encapsulated key, then ciphertext and tag. InvalidTag or ValueError, if it does not."""
    _, key, nonce = hpke_schedule(private, wrapped[:32], info)
    return AESGCM(key).decrypt(nonce, wrapped[32:], b"")


def self_test(path):
    assert bech32("a", b"") == "a12uel5l" and unbech32("a", "A12UEL5L") == b"" and unbech32("a", "A12UeL5L") is None
    assert unbech32("a", "a12uel5m") is None
    for length in range(80):
        data = hashlib.sha512(b"%d" % length).digest()[:length] * 2
        assert unbech32("drp", bech32("drp", data)) == data
    with open(path) as f:
        vectors = [v for v in json.load(f) if (v["mode"], v["kem_id"], v["kdf_id"], v["aead_id"]) == (0, 32, 1, 2)]
    opened = 0
    for vector in vectors:
        value = lambda name: bytes.fromhex(vector[name])
        private = X25519PrivateKey.from_private_bytes(value("skRm"))
        shared, key, nonce = hpke_schedule(private, value("enc"), value("info"))
        assert (shared, key, nonce) == (value("shared_secret"), value("key"), value("base_nonce"))
        for sequence, message in enumerate(vector["encryptions"]):
            now = (int.from_bytes(nonce, "big") ^ sequence).to_bytes(12, "big")
            plain = AESGCM(key).decrypt(now, bytes.fromhex(message["ct"]), bytes.fromhex(message["aad"]))
            assert plain.hex() == message["pt"]
            opened += 1
    assert opened > 0
    print("ok: %d vectors, %d messages" % (len(vectors), opened))


if __name__ == "__main__":
    self_test(sys.argv[1])
