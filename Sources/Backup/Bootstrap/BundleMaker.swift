internal import DRPKit
internal import Foundation

/// Gathers what a new machine needs beside the repositories, in memory: no secret is written to any file here.
struct BundleMaker: Sendable {
    private static let largestFile = 1 << 20

    let fleetFile: String
    let journal: Journal
    let clock: any WallClock
    let resolver: SecretResolver
    /// The version of this program.
    let program: String

    /// Everything but the journal, which is copied last.
    struct Gathered: Sendable {
        var fleet: Fleet
        var index: BundleIndex
        var entries: [ArchiveEntry]
        /// What could not be read, for people: places, never values.
        var lacks: [String]
        /// Equal for bundles that bring the same back.
        var content: ContentHash
    }

    /// - Throws: `FleetError`, also for a file that a new machine could not point to its own secrets; `JournalError`.
    func gather() async throws -> Gathered {
        let path = Self.absolute(fleetFile)
        let files = try FleetReader.contents(path)
        let reading = FleetReader.read(files, whole: path)
        guard let fleet = reading.fleet else { throw FleetError(reason: .invalid(reading.problems), path: path) }
        var isFolder: ObjCBool = false
        _ = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
        var gathered = Gathered(
            fleet: fleet,
            index: BundleIndex(
                program: program, fleet: fleet.name, isFolder: isFolder.boolValue, store: StoreName(unchecked: ""),
                at: clock.now.inWholeMilliseconds, state: fleet.state, fleetFiles: [], files: [], secrets: [], keys: [],
                head: .init(number: 0, hash: try await journal.newestWork())),
            entries: [], lacks: [], content: ContentHash(hashing: []))
        add(files, to: &gathered)
        try await addSecrets(reading.references, to: &gathered)
        addFiles(reading.references, to: &gathered)
        addRunbooks(beside: isFolder.boolValue ? path : (path as NSString).deletingLastPathComponent, to: &gathered)
        addKeys(to: &gathered)
        // On the day when it is needed is no time to learn that it cannot be done.
        _ = try FleetRewriter.rewrite(files, whole: path) { target in
            if case .secret = target { .secret(.file(path: "/nowhere")) } else { target }
        }
        gathered.content = Self.hash(of: gathered)
        return gathered
    }

    /// The whole archive for one store.
    func archive(_ gathered: Gathered, journal: [UInt8], head: BundleIndex.Head, store: StoreName) throws -> [UInt8] {
        var index = gathered.index
        index.store = store
        index.head = head
        let first = ArchiveEntry(name: BundleIndex.entry, bytes: try DocumentJSON.encode(index))
        return Archive.write(
            [first] + gathered.entries + [ArchiveEntry(name: BundleIndex.journal, bytes: journal)])
    }

    // MARK: - Parts

    private func add(_ files: [FleetFile], to gathered: inout Gathered) {
        for (number, file) in files.enumerated() {
            let entry = "fleet/" + Self.name(number + 1, (file.path as NSString).lastPathComponent, ending: ".yaml")
            gathered.index.fleetFiles.append(.init(entry: entry, path: file.path))
            gathered.entries.append(ArchiveEntry(name: entry, bytes: file.bytes))
        }
    }

    /// Those of the fleet file, and those of clients that a switch has moved.
    private func addSecrets(_ references: [FleetReference], to gathered: inout Gathered) async throws {
        var sources: [SecretSource] = []
        for reference in references { if case .secret(let source) = reference.target { sources.append(source) } }
        for client in gathered.fleet.clients {
            guard let placement = try await journal.placement(of: client.id) else { continue }
            let placed = try placement.services.decode(PlacedServices.self)
            sources += [placed.mongo, placed.redis].compactMap { $0 }.map { .file(path: $0) }
        }
        var seen: Set<SecretSource> = []
        for source in sources where seen.insert(source).inserted {
            let number = gathered.index.secrets.count + 1
            do {
                let secret = try await resolver.resolve(source)
                let entry = "secrets/" + Self.name(number, Self.word(for: source))
                gathered.index.secrets.append(.init(entry: entry, source: .init(source)))
                gathered.entries.append(ArchiveEntry(name: entry, bytes: secret.withBytes { $0 }))
            } catch let error as SecretError {
                gathered.index.secrets.append(.init(entry: nil, source: .init(source)))
                gathered.lacks.append(error.message)
            }
        }
    }

    private func addFiles(_ references: [FleetReference], to gathered: inout Gathered) {
        var seen: Set<String> = []
        for reference in references where !reference.isInner {
            guard case .file(let path) = reference.target, seen.insert(path).inserted else { continue }
            guard let bytes = Self.bytes(of: path) else {
                gathered.lacks.append("the file \(path) cannot be read, or is larger than 1 MiB")
                continue
            }
            let number = gathered.index.files.count + 1
            let entry = "files/" + Self.name(number, (path as NSString).lastPathComponent)
            gathered.index.files.append(.init(entry: entry, path: path))
            gathered.entries.append(ArchiveEntry(name: entry, bytes: bytes))
        }
    }

    /// Runbooks of this fleet's own.
    private func addRunbooks(beside folder: String, to gathered: inout Gathered) {
        // Most fleets have none.
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "\(folder)/runbooks")) ?? []
        for name in names.sorted() where name.hasSuffix(".yaml") {
            guard Archive.isName("runbooks/\(name)"), let bytes = Self.bytes(of: "\(folder)/runbooks/\(name)") else {
                gathered.lacks.append("the runbook \(folder)/runbooks/\(name) cannot be read or has an odd name")
                continue
            }
            gathered.entries.append(ArchiveEntry(name: "runbooks/\(name)", bytes: bytes))
        }
    }

    private func addKeys(to gathered: inout Gathered) {
        let folder = "\(gathered.fleet.state)/keys"
        // No folder before the first keys.
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        for name in names.sorted() where !name.hasPrefix(".") {
            guard let client = ClientID(name) else { continue }
            do {
                let keys = try WriterKeys.read(of: client, state: gathered.fleet.state)
                let content = try AtomicFile.readPrivate("\(folder)/\(name)", limit: 64 << 10)
                gathered.entries.append(ArchiveEntry(name: "keys/\(name)", bytes: content.withBytes { $0 }))
                gathered.index.keys.append(
                    .init(
                        client: client, uuid: keys.client,
                        epochs: keys.all.map { .init(epoch: $0.epoch, fingerprint: $0.fingerprint) }))
            } catch {
                gathered.lacks.append(Fault(error).text)
            }
        }
    }

    // MARK: - Helpers

    /// Over all but times and the journal's own bytes: the newest event stands for these.
    private static func hash(of gathered: Gathered) -> ContentHash {
        var bytes = gathered.index.head.hash.bytes
        for entry in gathered.entries {
            bytes += Array("\(entry.name)\n\(entry.bytes.count)\n".utf8)
            bytes += ContentHash(hashing: entry.bytes).bytes
        }
        for text in [gathered.index.program] + gathered.fleet.recovery + gathered.lacks {
            bytes += Array("\(text)\n".utf8)
        }
        return ContentHash(hashing: bytes)
    }

    /// `0001-uri.admin`: a number that makes it unique, and a word that tells a person what it is.
    private static func name(_ number: Int, _ word: String, ending: String = "") -> String {
        let digits = String(number)
        let plain = word.unicodeScalars.map { $0.isASCII && ObjectKey.isPart("a\($0)") ? String($0) : "-" }.joined()
        let name = String(repeating: "0", count: max(0, 4 - digits.count)) + digits + "-" + String(plain.prefix(60))
        return ending.isEmpty || name.hasSuffix(ending) ? name : name + ending
    }

    private static func word(for source: SecretSource) -> String {
        switch source {
        case .file(let path): (path as NSString).lastPathComponent
        case .env(let name): name
        case .command(let arguments): ((arguments.first ?? "command") as NSString).lastPathComponent
        case .credential(let name): name
        }
    }

    /// - Returns: nil for what is no plain file of at most 1 MiB that can be read.
    private static func bytes(of path: String) -> [UInt8]? {
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_size <= largestFile,
            let handle = FileHandle(forReadingAtPath: path),
            // A file that cannot be read is named as lacking.
            let data = try? handle.read(upToCount: largestFile + 1), data.count <= largestFile
        else { return nil }
        return Array(data)
    }

    private static func absolute(_ path: String) -> String {
        path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
    }
}
