import Crypto
import DRPKit
import Foundation
import TestSupport
import Testing

@testable import Backup

/// Whatever happens to the objects of a repository is found by verification and named, and a restore gets exactly the
/// bytes that were stored, or is refused.
@Suite struct DamageTests {
    @Test("every byte flipped: the object is named, and no restore ever gets wrong bytes")
    func everyByte() async throws {
        let whole = try await DamageFixture()
        #expect(try await whole.verify(whole.store).isWhole)
        #expect(whole.store.byteCount < 20 << 10 && whole.store.keys.count >= 10)
        var random = SeededGenerator(seed: 21)
        var damages: [Damage] = []
        for key in whole.store.keys {
            for position in (whole.store[key] ?? []).indices {
                let mask = UInt8.random(in: 1...255, using: &random)
                damages.append(
                    Damage(what: "\(key) at \(position), mask \(mask)", names: [key.text]) {
                        $0[key]?[position] ^= mask
                    })
            }
        }
        try await expect("flipped bytes", damages, in: whole, found: damages.count)
    }

    @Test("objects that are cut at every length, emptied or doubled are named and give no wrong bytes")
    func lengths() async throws {
        let whole = try await DamageFixture()
        var damages: [Damage] = []
        var kinds: Set<String> = []
        for key in whole.store.keys {
            let bytes = whole.store[key] ?? []
            let isFirst = kinds.insert(key.parts[1]).inserted
            for length in isFirst ? Array(bytes.indices) : [0, bytes.count / 2, bytes.count - 1] {
                damages.append(
                    Damage(what: "\(key) cut to \(length)", names: [key.text]) { $0[key] = Array(bytes.prefix(length)) }
                )
            }
            damages.append(Damage(what: "\(key) doubled", names: [key.text]) { $0[key] = bytes + bytes })
            damages.append(Damage(what: "\(key) and a zero", names: [key.text]) { $0[key] = bytes + [0] })
        }
        #expect(
            kinds == [
                "drp.json", "keys", "packs", "indexes", "backups", "logs", "lease", "marks", "tombstones", "hold",
            ])
        try await expect("other lengths", damages, in: whole, found: damages.count)
    }

    @Test("a deleted object is found by what needs it, and only backups that need it are refused")
    func deleted() async throws {
        let whole = try await DamageFixture()
        let packs = try await packs(of: whole)
        var unknowable = 0
        let damages = whole.store.keys.map { key -> Damage in
            var damage = Damage(what: "\(key) deleted", names: [key.text]) { $0[key] = nil }
            switch key.parts[1] {
            case "packs": (damage.names, damage.suffering) = ([], packs[key] ?? [])
            // A cache, what was to be deleted or not, and who works.
            case "indexes", "marks", "tombstones", "hold", "lease": damage.names = []
            // Of the newest one only the journal knows; in the place of the first one is its tombstone.
            case "backups":
                let next = whole.layout.backup((Int(key.name) ?? 0) + 1)
                damage.names = whole.store[next] == nil || key == whole.layout.backup(1) ? [] : [next.text]
            // Found between two others.
            case "logs":
                let log = whole.store.keys.filter { $0.parts.count == 4 && $0.parts[2] == key.parts[2] }
                damage.names = key == log.first || key == log.last ? [] : log.suffix(1).map(\.text)
            default: break
            }
            if damage.names.isEmpty && damage.suffering.isEmpty { unknowable += 1 }
            return damage
        }
        #expect(packs.values.allSatisfy { !$0.isEmpty })
        // Each backup has an index. One manifest has a tombstone, one is a void at the end; two logs have two ends.
        #expect(unknowable == whole.manifests.count + 4 + 2 + 4)
        try await expect("deleted objects", damages, in: whole, found: damages.count - unknowable)
    }

    @Test("any two objects swapped are both named and give no wrong bytes")
    func swapped() async throws {
        let whole = try await DamageFixture()
        let keys = whole.store.keys
        var damages: [Damage] = []
        for (number, one) in keys.enumerated() {
            for other in keys[(number + 1)...] {
                damages.append(
                    Damage(what: "\(one) and \(other) swapped", names: [one.text, other.text], mustNameAll: true) {
                        ($0[one], $0[other]) = ($0[other], $0[one])
                    })
            }
        }
        try await expect("swapped pairs", damages, in: whole, found: damages.count)
    }

    @Test("another client's objects are named, in the place of ours and beside them, and never read as ours")
    func foreign() async throws {
        let ours = try await DamageFixture()
        // The same data: only keys tell them apart.
        let other = try await DamageFixture(name: "acme")
        var damages: [Damage] = []
        for theirs in other.store.keys {
            let bytes = other.store[theirs] ?? []
            for key in ours.store.keys where key.parts[1] == theirs.parts[1] {
                damages.append(Damage(what: "\(theirs) as \(key)", names: [key.text]) { $0[key] = bytes })
            }
            let own = ObjectKey(own: ([ours.layout.root.text] + theirs.parts.dropFirst()).joined(separator: "/"))
            if ours.store[own] == nil {
                damages.append(Damage(what: "\(theirs) beside ours", names: [own.text]) { $0[own] = bytes })
            }
        }
        let wrap = ours.layout.wrap(epoch: 1, ours.fixture.identity.recipient)
        let theirs = try other.fixture.root.wrap(to: ours.fixture.identity.recipient)
        damages.append(Damage(what: "their root key wrapped to us", names: [wrap.text]) { $0[wrap] = theirs })
        try await expect("foreign objects", damages, in: ours, found: damages.count)
    }

    @Test("an older wrap or card of another epoch is named; one of the same epoch opens the same and changes nothing")
    func older() async throws {
        let whole = try await DamageFixture()
        let (fixture, layout) = (whole.fixture, whole.layout)
        let wrap = layout.wrap(epoch: 1, fixture.identity.recipient)
        let older = RootKey.generate(client: fixture.root.client, name: fixture.root.name, epoch: 2)
        let olderCard = try RepositoryCard(keys: try older.writerKeys(), created: "2026-01-01T00:00:00Z").encoded()
        let olderWrap = try older.wrap(to: fixture.identity.recipient)
        try await expect(
            "objects of another epoch",
            [
                Damage(what: "wrap", names: [wrap.text]) { $0[wrap] = olderWrap },
                Damage(what: "card", names: [layout.card.text]) { $0[layout.card] = olderCard },
            ], in: whole, found: 2)
        let sameCard = try RepositoryCard(keys: whole.keys, created: "2026-01-01T00:00:00Z").encoded()
        let sameWrap = try fixture.root.wrap(to: fixture.identity.recipient)
        let copy = whole.store.copy()
        copy[wrap] = sameWrap
        copy[layout.card] = sameCard
        #expect(try await whole.verify(copy).isWhole)
        #expect(try await whole.read(copy).right == 7)
    }

    @Test("what a stranger makes with the public half alone is named, and restores read what was there before")
    func forged() async throws {
        let whole = try await DamageFixture()
        let real = whole.keys
        // All that stands in the clear or can be learnt by writing to the bucket; the secret keys are made up.
        let forger = WriterKeys(
            client: real.client, name: real.name, epoch: real.epoch, publicKey: real.publicKey,
            idKey: Secret([UInt8](repeating: 1, count: 32)), catalogKey: Secret([UInt8](repeating: 2, count: 32)))
        let forgery = whole.store.copy()
        let before = Set(forgery.keys)
        let writer = try await Repository(unchecked: forgery, keys: forger).begin()
        let chunk = RepositoryFixture.chunk(records: 3, of: 60, seed: 99)
        let id = try await OwnThread.run("test") { try writer.store(chunk) }
        let date = RepositoryFixture.created
        _ = try await writer.commit(
            mongo: RepositoryFixture.mongo([id], [chunk]), redis: nil, started: date, finished: date, instant: date)
        let made = forgery.keys.filter { !before.contains($0) }
        #expect(Set(made.map { $0.parts[1] }) == ["packs", "indexes", "backups"])

        var damages = made.map { key -> Damage in
            let bytes = forgery[key]
            return Damage(what: "\(key) beside ours", names: [key.text]) { $0[key] = bytes }
        }
        let manifest = forgery[whole.layout.backup(5)]
        for number in 1...3 {
            let key = whole.layout.backup(number)
            damages.append(Damage(what: "a manifest as \(number)", names: [key.text]) { $0[key] = manifest })
        }
        let card = try RepositoryCard(keys: forger, created: "2026-01-01T00:00:00Z").encoded()
        damages.append(Damage(what: "a card", names: [whole.layout.card.text]) { $0[whole.layout.card] = card })
        // A root key of the forger's, wrapped to a recipient whose public key stands in the bucket.
        let root = RootKey.generate(client: real.client, name: real.name)
        let wrap = whole.layout.wrap(epoch: 1, whole.fixture.identity.recipient)
        let wrapped = try root.wrap(to: whole.fixture.identity.recipient)
        damages.append(Damage(what: "a root key", names: [wrap.text]) { $0[wrap] = wrapped })
        damages += try forgedPacks(whole, forger)
        try await expect("forged objects", damages, in: whole, found: damages.count)
        await #expect(throws: RepositoryError.self) { _ = try await whole.fixture.repository.manifest(5) }
    }

    /// Packs that hold a chunk under the id of a real one, sealed with a key that is wrapped rightly to the public key.
    private func forgedPacks(_ whole: DamageFixture, _ forger: WriterKeys) throws -> [Damage] {
        let (id, kind) = try #require(whole.manifests[0].chunks.first)
        let key = try PackKey(keys: forger)
        let bytes = RepositoryFixture.chunk(records: 1, of: 80, seed: 7).bytes
        let box = try bytes.withUnsafeBytes { bytes in
            try Compression().compressed(bytes) {
                try AES.GCM.seal(
                    $0, using: key.key, nonce: try key.nextNonce(),
                    authenticating: forger.binding.bytes(.chunk, Pack.chunkExtra(id, kind)))
            }
        }
        var pack = OpenPack()
        pack.append(box, key: key, id: id, kind: kind, plainLength: bytes.count)
        let sealedChunk = pack.bytes
        _ = try pack.close(SealedDocument(keys: forger, compression: Compression()))
        var damages: [Damage] = []
        let name = whole.layout.pack(ContentHash(hashing: pack.bytes))
        damages.append(
            Damage(what: "a pack with a real id", names: [name.text]) { [bytes = pack.bytes] in $0[name] = bytes })
        // Its content before a real trailer, under the hash of both.
        for real in whole.store.keys where real.parts[1] == "packs" {
            let all = whole.store[real] ?? []
            let range = try Pack.trailerRange(
                footer: all.suffix(Pack.footerLength), size: Int64(all.count), subject: "pack")
            let mixed = sealedChunk + all[Int(range.lowerBound)...]
            let spliced = whole.layout.pack(ContentHash(hashing: mixed))
            damages.append(Damage(what: "a spliced pack", names: [spliced.text]) { $0[spliced] = mixed })
            damages.append(Damage(what: "a spliced pack as \(real)", names: [real.text]) { $0[real] = mixed })
        }
        return damages
    }

    @Test("a whole repository made by a stranger for our recipients is refused by the writer's keys")
    func forgedRepository() async throws {
        let real = try await RepositoryFixture()
        let store = MemoryStore()
        let root = RootKey.generate(client: real.root.client, name: real.root.name)
        _ = try await Repository.initialize(
            store: store, root: root, recipients: [real.identity.recipient], created: RepositoryFixture.created)
        await #expect(throws: RepositoryError.self) { try await Repository(store: store, keys: real.keys) }
        let trusting = Repository(unchecked: store, keys: real.keys)
        await #expect(throws: RepositoryError.self) { _ = try await trusting.rootKeys(real.identity) }
        // With the identity alone it opens: only its fingerprint tells.
        let opened = try await Repository.open(store: store, client: real.root.client, identity: real.identity)
        #expect(opened.repository.keys.fingerprint != real.keys.fingerprint)
    }

    @Test("nothing that the host which backs up holds opens a chunk, tried as every kind of key")
    func writerCannotRead() async throws {
        let whole = try await DamageFixture()
        let folder = try TemporaryFolder()
        try whole.keys.write(to: folder.path("acme"))
        let file = try Data(contentsOf: URL(fileURLWithPath: folder.path("acme")))
        var candidates = KeyHunt.candidates(in: Array(file))
        candidates += [whole.keys.idKey, whole.keys.catalogKey].map { $0.withBytes { Array($0) } }
        candidates.append(whole.keys.publicKey)
        #expect(candidates.contains(whole.keys.publicKey))
        let hunt = try await KeyHunt(whole.store, whole.keys)
        #expect(hunt.opens(candidates) == nil)
        print("keys tried as AES, X25519 and root keys: \(candidates.count)")
        // The hunt finds what does open.
        let root = whole.fixture.root
        let secret = try Array(root.privateKey().rawRepresentation)
        #expect(hunt.opens(candidates + [secret]) == secret)
    }

    // MARK: -

    /// Each pack, and the backups that need it.
    private func packs(of whole: DamageFixture) async throws -> [ObjectKey: [Int]] {
        let catalog = try await ChunkCatalog.load(whole.fixture.repository)
        var packs: [ObjectKey: [Int]] = [:]
        for manifest in whole.manifests {
            for id in manifest.chunks.keys {
                guard let place = catalog.location(id) else { continue }
                packs[whole.layout.pack(catalog.packs[Int(place.pack)].name), default: []].append(manifest.number)
            }
        }
        return packs
    }

    private func expect(_ what: String, _ damages: [Damage], in fixture: DamageFixture, found: Int) async throws {
        let count = try await fixture.tryAll(damages)
        print("\(what): \(count.text)")
        #expect(count.tried == damages.count && count.tried > 0)
        #expect(count.failures.isEmpty, "\(count.failures.prefix(5).joined(separator: "\n"))")
        #expect(count.found == found)
    }
}
