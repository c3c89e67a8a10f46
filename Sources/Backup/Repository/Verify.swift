internal import DRPKit

/// What a verification found.
package struct VerifyReport: Codable, Sendable {
    /// One object, or part of it, that is not as it must be.
    package struct Problem: Codable, Sendable, Equatable {
        /// The object's key, or the chunk.
        package var subject: String
        package var text: String
        /// Backups that cannot be restored whole because of it; none if the repository mends itself.
        package var backups: [Int]
    }

    /// What a round that reads a share of the packs did.
    package struct Sample: Codable, Sendable, Equatable {
        /// Of the packs, in percent.
        package var percent: Double
        /// From 1.
        package var round: Int
        /// Packs that were read whole, and their bytes.
        package var packs = 0
        package var packBytes: Int64 = 0
        /// How many rounds read everything that stays.
        package var rounds: Int
        /// How many of them are left until everything was read; 0 with this one.
        package var roundsLeft: Int

        init(_ sample: VerifySample) {
            percent = Double(sample.share) * 100 / Double(VerifySample.circle)
            round = sample.round
            rounds = sample.rounds
            roundsLeft = sample.roundsLeft
        }
    }

    package var backups: [Int] = []
    package var packs = 0
    package var packBytes: Int64 = 0
    /// nil if all packs were read whole.
    package var sample: Sample?
    package var chunks = 0
    /// Chunks whose content was opened and compared with their ids; 0 if no identity was at hand.
    package var chunksRead = 0
    package var chunkBytesRead: Int64 = 0
    /// Slices of logs, and gaps that say why one is missing.
    package var slices = 0
    package var gaps = 0
    package var problems: [Problem] = []
    /// Epochs in the store that the writer's keys do not know: half begun and left behind, or a stranger's. Nothing of
    /// ours is sealed under them, so they are no damage.
    package var unusedEpochs: [Int] = []

    package var isWhole: Bool { problems.isEmpty }

    /// All backups that cannot be restored whole, or not with every identity, in order.
    package var suffering: [Int] { Set(problems.flatMap(\.backups)).sorted() }

    package init() {}
}

extension Repository {
    /// Checks every object of a repository without opening content: card, wraps, packs against their names,
    /// trailers, indexes, manifests and their chain, marks and tombstones, and that each chunk is where it should be.
    ///
    /// Others may work beside it. What comes meanwhile is not looked at; where something has gone, by a prune, what was
    /// found wrong may only have been going: then all is checked again, twice at the most.
    /// - Parameters:
    ///   - reader: with one, each chunk is opened too, its id is made again from its records, and the digests
    ///     of the manifests are made again from those.
    ///   - sample: with one, only its packs are read whole, and only their chunks are opened; all else is checked anyway.
    ///   - progress: bytes of packs and chunks done; called from any thread.
    /// - Throws: `StoreError` if the store cannot be read; what is wrong with the repository is in the report.
    package static func verify(
        store: any ObjectStore, keys: WriterKeys, reader: (@Sendable () async throws -> BackupReader)? = nil,
        sample: VerifySample? = nil, progress: @escaping @Sendable (Int64) -> Void = { _ in }
    ) async throws -> VerifyReport {
        let repository = Repository(unchecked: store, keys: keys)
        for _ in 0..<2 {
            let there = try await repository.objects()
            do {
                let report = try await verify(repository, there, reader, sample, progress)
                if report.isWhole { return report }
                if try await repository.objects().isSuperset(of: there) { return report }
            } catch let error as StoreError where error.reason == .missing {
                if try await repository.objects().isSuperset(of: there) { throw error }
            }
        }
        return try await verify(repository, try await repository.objects(), reader, sample, progress)
    }

    private func objects() async throws(StoreError) -> Set<ObjectKey> {
        Set(try await store.list(layout.root).map(\.key))
    }

    private static func verify(
        _ repository: Repository, _ there: Set<ObjectKey>, _ reader: (@Sendable () async throws -> BackupReader)?,
        _ sample: VerifySample?, _ progress: @escaping @Sendable (Int64) -> Void
    ) async throws -> VerifyReport {
        var verification = Verification(repository, there, sample: sample, progress: progress)
        try await verification.checkKeys()
        try await verification.checkPacks()
        try await verification.checkIndexes()
        try await verification.checkPruning()
        try await verification.checkManifests()
        try await verification.checkLogs()
        try await verification.checkStrays()
        verification.nameSuffering()
        if let reader {
            do {
                try await verification.readContent(try await reader())
            } catch let error as RepositoryError {
                verification.note("the content", error.message, backups: verification.report.backups)
            }
        }
        return verification.report
    }
}

/// The verification on its way.
private struct Verification {
    let repository: Repository
    /// All objects when it began.
    let there: Set<ObjectKey>
    let sample: VerifySample?
    let progress: @Sendable (Int64) -> Void
    var report = VerifyReport()
    private var layout: RepositoryLayout { repository.layout }
    /// Objects that were understood; the others are strays.
    private var seen: Set<ObjectKey> = []
    private var good: [ContentHash: StoredPack] = [:]
    private var chunks: [ChunkID: ChunkKind] = [:]
    private var manifests: [Int: Manifest] = [:]
    /// Slices that are whole, as far as one can tell without an identity.
    private var slices: [LogName] = []
    private var links: [Int: Link] = [:]

    /// A backup in the chain: one that is there, or the tombstone of one that was pruned.
    private struct Link {
        var subject: ObjectKey
        var previous: ContentHash?
        var hash: ContentHash
        /// What is known of a manifest that cannot be read is its hash alone.
        var isReadable = true
    }
    /// Chunks of the packs that were read whole; all count without a sample.
    private var sampled: Set<ChunkID> = []
    /// Packs with a problem, by its place in the report, and what they hold as far as somebody can tell.
    private var damaged: [(problem: Int, name: ContentHash, chunks: Set<ChunkID>?)] = []
    /// Problems of card and wrapped keys, by their places in the report, and the first epoch that they close.
    private var keyProblems: [(problem: Int, epoch: Int)] = []
    /// For each backup the chunks that are in no whole pack.
    private var lost: [Int: Set<ChunkID>] = [:]

    init(
        _ repository: Repository, _ there: Set<ObjectKey>, sample: VerifySample?,
        progress: @escaping @Sendable (Int64) -> Void
    ) {
        self.repository = repository
        self.there = there
        self.sample = sample
        self.progress = progress
        report.sample = sample.map { VerifyReport.Sample($0) }
    }

    mutating func note(_ subject: String, _ text: String, backups: [Int]) {
        report.problems.append(VerifyReport.Problem(subject: subject, text: text, backups: backups))
    }

    /// Runs one check; what is wrong with the object becomes a problem, a store that fails ends all.
    private mutating func check(_ key: ObjectKey, _ body: (inout Self) async throws -> Void) async throws {
        seen.insert(key)
        do {
            try await body(&self)
        } catch let error as RepositoryError {
            note("\(key)", error.message, backups: [])
        } catch let error as StoreError where error.reason == .missing || error.reason == .damaged {
            note("\(key)", error.message, backups: [])
        }
    }

    mutating func checkKeys() async throws {
        try await check(layout.card) { try await $0.repository.checkCard() }
        keyProblems = report.problems.indices.map { ($0, 0) }
        for epoch in repository.keys.all {
            // What is wrong with a link is told by the card's check above.
            seen.insert(layout.epoch(epoch.epoch))
            let before = report.problems.count
            let wraps = try await repository.store.list(layout.wraps(epoch: epoch.epoch))
            if wraps.isEmpty {
                note("\(layout.wraps(epoch: epoch.epoch))", "the root key is wrapped to nobody", backups: [])
            }
            for wrap in wraps {
                try await check(wrap.key) { this in
                    guard let recipient = Recipient(wrap.key.name) else {
                        throw RepositoryError(.damaged, "\(wrap.key)", cause: "its name is no recipient")
                    }
                    try await this.repository.checkWrap(recipient, of: epoch)
                }
            }
            keyProblems += (before..<report.problems.count).map { ($0, epoch.epoch) }
        }
    }

    mutating func checkPacks() async throws {
        let packs = try await PackCheck(repository: repository, sample: sample, progress: progress)
            .run(try await repository.store.list(layout.packs))
        for pack in packs {
            seen.insert(pack.key)
            report.packs += 1
            report.packBytes += pack.size
            if sample != nil, pack.isReadWhole {
                report.sample?.packs += 1
                report.sample?.packBytes += pack.size
            }
            if let failure = pack.failure {
                note("\(pack.key)", failure, backups: [])
                let chunks = pack.stored.map { Set($0.trailer.entries.map(\.id)) }
                damaged.append((report.problems.count - 1, pack.name, chunks))
            } else if let stored = pack.stored {
                good[pack.name] = stored
                for entry in stored.trailer.entries { chunks[entry.id] = entry.kind }
                if sample != nil, pack.isReadWhole { sampled.formUnion(stored.trailer.entries.map(\.id)) }
            }
        }
        report.chunks = chunks.count
    }

    mutating func checkIndexes() async throws {
        for object in try await repository.store.list(layout.indexes) where layout.indexName(object.key) != nil {
            try await check(object.key) { this in
                let packs = try await this.repository.index(object.key).packs
                this.learnContent(of: packs)
                guard packs.allSatisfy({ this.good[$0.name] == nil || this.good[$0.name] == $0 }) else {
                    throw RepositoryError(.damaged, "\(object.key)", cause: "it contradicts the trailer of a pack")
                }
            }
        }
    }

    /// What prunes write, and the hold. A prune may be on its way, or have been killed: nothing of that is wrong.
    mutating func checkPruning() async throws {
        for object in try await repository.store.list(layout.marks) {
            guard let number = layout.markNumber(object.key) else { continue }
            try await check(object.key) { _ = try await $0.repository.mark(number) }
        }
        for object in try await repository.store.list(layout.tombstones) {
            guard let number = layout.tombstoneNumber(object.key) else { continue }
            try await check(object.key) { this in
                let tombstone = try await this.repository.tombstone(number)
                this.links[number] = Link(
                    subject: object.key, previous: tombstone.previous, hash: tombstone.hash)
            }
        }
        try await check(layout.hold) { _ = try await $0.repository.hold() }
        seen.insert(layout.probe)
        try await check(layout.lease) { this in
            if try await this.repository.store.size(this.layout.lease) != nil { _ = try await this.repository.lease() }
        }
    }

    /// What a damaged pack held, if it cannot tell itself.
    private mutating func learnContent(of packs: [StoredPack]) {
        for place in damaged.indices where damaged[place].chunks == nil {
            guard let pack = packs.first(where: { $0.name == damaged[place].name }) else { continue }
            damaged[place].chunks = Set(pack.trailer.entries.map(\.id))
        }
    }

    mutating func checkManifests() async throws {
        let numbers = try await repository.numbers().filter { there.contains(layout.backup($0)) }
        report.backups = numbers
        for number in numbers {
            let sealed = try await repository.store.read(layout.backup(number))
            let key = layout.backup(number)
            seen.insert(key)
            let hash = ContentHash(hashing: sealed)
            if let tombstone = links[number], tombstone.hash != hash {
                note("\(tombstone.subject)", "it is not that of the backup which is there", backups: [])
            }
            links[number] = Link(subject: key, hash: hash, isReadable: false)
            do {
                let object = try repository.open(sealed, number: number)
                guard case .manifest(let manifest) = object else {
                    report.backups.removeAll { $0 == number }
                    links[number] = Link(subject: key, previous: object.previous, hash: hash)
                    continue
                }
                manifests[number] = manifest
                links[number] = Link(subject: key, previous: manifest.previous, hash: hash)
                let needed = manifest.chunks
                let lost = needed.filter { chunks[$0.key] != $0.value }
                if !lost.isEmpty {
                    self.lost[number] = Set(lost.keys)
                    note(
                        "\(key)", "\(lost.count) of its \(needed.count) chunks are in no whole pack", backups: [number])
                }
            } catch let error as RepositoryError {
                note("\(key)", error.message, backups: [number])
            }
        }
        checkChain()
    }

    private mutating func checkChain() {
        for (number, link) in links.sorted(by: { $0.key < $1.key }) where link.isReadable {
            let before = links[number - 1]
            if number > 1, before == nil {
                note("\(link.subject)", "the backup before it, \(number - 1), is missing", backups: [])
            } else if link.previous != before?.hash {
                note(
                    "\(link.subject)", "the backup before it is not the one that was there when it was written",
                    backups: [])
            }
        }
    }

    /// Says of each damaged pack and key which backups suffer, now that the manifests have told what they need.
    mutating func nameSuffering() {
        let explained = damaged.reduce(into: Set<ChunkID>()) { $0.formUnion($1.chunks ?? []) }
        for pack in damaged {
            report.problems[pack.problem].backups =
                lost.filter { _, chunks in
                    guard let held = pack.chunks else { return !chunks.isSubset(of: explained) }
                    return !chunks.isDisjoint(with: held)
                }.keys.sorted()
        }
        // Without the card nothing opens; without a wrap, nothing of its epoch opens for that recipient, nor of those that
        // are linked to it. A manifest that cannot be read may be of any.
        for (problem, epoch) in keyProblems {
            report.problems[problem].backups = report.backups.filter { (manifests[$0]?.epoch ?? epoch) >= epoch }
        }
    }

    mutating func checkStrays() async throws {
        for object in try await repository.store.list(layout.root)
        where !seen.contains(object.key) && there.contains(object.key) {
            if let epoch = layout.wrapEpoch(object.key) ?? layout.epochNumber(object.key),
                repository.keys.of(epoch: epoch) == nil
            {
                if !report.unusedEpochs.contains(epoch) { report.unusedEpochs.append(epoch) }
                continue
            }
            note("\(object.key)", "no such object belongs to a repository", backups: [])
        }
        report.unusedEpochs.sort()
    }

    /// Slices and gaps, each by itself, and that each follows the one before it. No backup suffers from what is wrong with
    /// them: the instants after it do.
    mutating func checkLogs() async throws {
        var before: (name: LogName, hash: ContentHash?)?
        for name in try await repository.logNames() {
            let key = layout.log(name)
            var previous: ContentHash??
            var hash: ContentHash?
            if sample?.contains(ContentHash(hashing: Array(name.text.utf8))) ?? true {
                try await check(key) { this in
                    let bytes = try await this.repository.store.read(key)
                    hash = ContentHash(hashing: bytes)
                    if name.isGap {
                        previous = try this.repository.gap(bytes, name: name).previous
                    } else {
                        previous = try StoredSlice(bytes, name: name, in: this.repository).manifest.previous
                        this.slices.append(name)
                    }
                }
            } else {
                seen.insert(key)
            }
            if name.isGap { report.gaps += 1 } else { report.slices += 1 }
            if let before, before.name.log == name.log {
                checkOrder(before.name, before.hash, name, previous)
            }
            before = (name, hash)
        }
    }

    /// - Parameter previous: nil if it is not known.
    private mutating func checkOrder(
        _ before: LogName, _ hash: ContentHash?, _ name: LogName, _ previous: ContentHash??
    ) {
        let key = "\(layout.log(name))"
        if before.to < name.from {
            note(key, "nothing covers the log from \(before.to) to here, and no gap says why", backups: [])
        } else if before.to > name.from {
            note(key, "it overlaps the one before it, which ends at \(before.to)", backups: [])
        } else if let hash, let previous, previous != hash {
            note(key, "the one before it is not the one that was there when it was written", backups: [])
        }
    }

    /// Opens each chunk that a backup needs once, on two threads, then compares the manifests' digests.
    mutating func readContent(_ reader: BackupReader) async throws {
        var needed: [ChunkID: ChunkKind] = [:]
        var variants: [ChunkID: Set<LeftOut>] = [:]
        for manifest in manifests.values {
            needed.merge(manifest.chunks) { first, _ in first }
            for segment in manifest.segments {
                if let leftOut = segment.leftOut { variants[segment.chunk, default: []].insert(leftOut) }
            }
        }
        let isAll = sample == nil
        let work = needed.filter { chunks[$0.key] == $0.value && (isAll || sampled.contains($0.key)) }
            .sorted { $0.key.hash < $1.key.hash }
        let halves = [work.prefix(work.count / 2), work.suffix(work.count - work.count / 2)]
        var digests: [Segment: ContentDigest] = [:]
        var failures: [ChunkID: String] = [:]
        try await withThrowingTaskGroup(of: [ReadChunk].self) { group in
            for half in halves {
                group.addTask { [progress, variants] in
                    try await OwnThread.run("verify") {
                        try half.map { id, kind in
                            try ReadChunk(
                                id, kind: kind, variants: variants[id] ?? [], reader: reader, progress: progress)
                        }
                    }
                }
            }
            for try await chunks in group {
                for chunk in chunks {
                    digests.merge(chunk.digests) { first, _ in first }
                    failures[chunk.id] = chunk.failure
                    guard let whole = chunk.digests[Segment(chunk.id)] else { continue }
                    report.chunksRead += 1
                    report.chunkBytesRead += whole.bytes
                }
            }
        }
        for (id, text) in failures.sorted(by: { $0.key.hash < $1.key.hash }) {
            let suffering = manifests.values.filter { $0.chunks[id] != nil }.map(\.number).sorted()
            note("chunk \(id)", text, backups: suffering)
        }
        for manifest in manifests.values.sorted(by: { $0.number < $1.number }) {
            try await checkDigests(manifest, digests, reader)
        }
        try await readSlices(reader)
    }

    private mutating func readSlices(_ reader: BackupReader) async throws {
        for name in slices {
            try await check(layout.log(name)) { this in
                let digest = try await reader.verify(name)
                this.report.chunkBytesRead += digest.bytes
                this.progress(digest.bytes)
            }
        }
    }

    private mutating func checkDigests(
        _ manifest: Manifest, _ digests: [Segment: ContentDigest], _ reader: BackupReader
    ) async throws {
        func sum(_ segments: [Segment]) -> ContentDigest? {
            var sum = ContentDigest()
            for segment in segments {
                guard let digest = digests[segment] else { return nil }
                sum.add(digest)
            }
            return sum
        }
        let key = "\(layout.backup(manifest.number))"
        for collection in manifest.mongo?.collections ?? [] {
            guard let found = sum(collection.segments), found != collection.digest else { continue }
            let name = "\(collection.database).\(collection.collection)"
            note(key, "the digest of collection \(name) is not that of its chunks", backups: [manifest.number])
        }
        for database in manifest.redis?.databases ?? [] {
            guard var found = sum(database.segments) else { continue }
            let pieces = database.pieces ?? []
            guard pieces.joined().allSatisfy({ digests[Segment($0)] != nil }) else { continue }
            for value in pieces {
                do {
                    found.add(try await OwnThread.run("verify") { try reader.value(value).digest })
                } catch let error as RepositoryError where error.reason != .foreign {
                    note(key, error.message, backups: [manifest.number])
                }
            }
            guard found != database.digest else { continue }
            let text = "the digest of Redis database \(database.database) is not that of its chunks"
            note(key, text, backups: [manifest.number])
        }
    }
}

/// One chunk, opened: the digests of its records and of those that segments leave of it, or what is wrong with it.
private struct ReadChunk: Sendable {
    var id: ChunkID
    var digests: [Segment: ContentDigest] = [:]
    var failure: String?

    /// - Throws: only what a store that cannot be reached throws.
    init(
        _ id: ChunkID, kind: ChunkKind, variants: Set<LeftOut>, reader: BackupReader,
        progress: @Sendable (Int64) -> Void
    ) throws {
        self.id = id
        do {
            let bytes = try reader.load(id, kind: kind)
            var records: [(hash: ContentHash, length: Int)] = []
            try bytes.withUnsafeBytes { bytes in
                try RecordSplitter.forEach(in: bytes, kind: kind) {
                    records.append((ContentHash(hashing: $0), $0.count))
                }
            }
            let hashes = records.map(\.hash)
            try reader.verifyID(id, kind: kind, hashes: hashes)
            if let list = try reader.fingerprints(id), try list != reader.fingerprints(hashes, of: id) {
                throw RepositoryError(.damaged, "chunk \(id)", cause: "its fingerprints are not those of its records")
            }
            for leftOut in variants where !leftOut.fits(records.count) {
                throw RepositoryError(
                    .damaged, "chunk \(id)", cause: "what a backup leaves out of it is not of \(records.count) records")
            }
            for leftOut in [nil] + variants.map(Optional.some) {
                var digest = ContentDigest()
                for (number, record) in records.enumerated() where leftOut?.contains(number) != true {
                    digest.add(record.hash, length: record.length)
                }
                digests[Segment(id, leftOut: leftOut)] = digest
            }
            progress(Int64(bytes.count))
        } catch let error as RepositoryError {
            failure = error.message
        } catch let error as StoreError where error.reason == .missing || error.reason == .damaged {
            failure = error.message
        }
    }
}
