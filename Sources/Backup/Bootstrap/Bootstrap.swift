package import DRPKit
internal import Foundation

/// Gives a new machine everything back, from a store and an identity alone: fleet file, secrets, journal and keys out of
/// the newest bundle that opens, then what was backed up after it.
package struct Bootstrap: Sendable {
    private let store: any ObjectStore
    /// Where the store lies, if it is a folder: the fleet file may know it by another path.
    private let storeFolder: String?
    private let identity: RecoveryIdentity
    private let folder: BootstrapFolder
    private let clock: any WallClock
    private let open: StoreOpener

    /// - Parameters:
    ///   - folder: absolute; where everything comes to lie.
    ///   - open: makes the stores that the fleet file names.
    package init(
        store: any ObjectStore, storeFolder: String?, identity: RecoveryIdentity, folder: String,
        clock: any WallClock, open: @escaping StoreOpener
    ) {
        self.store = store
        self.storeFolder = storeFolder
        self.identity = identity
        self.folder = BootstrapFolder(path: folder)
        self.clock = clock
        self.open = open
    }

    package struct Report: Sendable {
        package var number: Int
        package var index: BundleIndex
        /// The journal's chain, as far as it came with the bundle.
        package var verdict: EventVerdict
        /// Newer bundles that do not open, or are not whole.
        package var damaged: [(number: Int, error: any Error)] = []
        /// What the machine that is lost could not read when it made the bundle.
        package var lacks: [String] = []
        package var secrets = 0
        /// Runs that wait, those that were active among them.
        package var runs: [RunID] = []
        package var catalog: [(client: ClientID, found: [CatalogRebuild.Found])] = []
        /// Clients that a store says were erased after the bundle was made: their keys did not come back.
        package var erased: [ClientID] = []
        /// Clients whose stores could not be asked at all.
        package var problems: [(client: ClientID, error: any Error)] = []
        /// Whether the fleet is a folder of files.
        package var isFolder: Bool { index.isFolder }
    }

    /// - Parameters:
    ///   - number: of the bundle; nil for the newest one that is whole.
    ///   - noted: a hash of the chain that the bundle's journal must hold.
    /// - Returns: nil if an earlier run had done everything already.
    /// - Throws: `BootstrapError`; what opening the only, or the wanted, bundle throws; `StoreError`. Nothing is left in
    ///   the folder then that the next run would not clear away.
    package func run(at number: Int?, noted: NotedHead?) async throws -> Report? {
        guard try folder.prepare() == .free else { return nil }
        let staged: Report
        do {
            let (opened, damaged) = try await stage(number, noted)
            var report = try await complete(opened)
            report.damaged = damaged
            staged = report
        } catch {
            // The next run clears it away, too.
            try? FileManager.default.removeItem(atPath: folder.staging)
            throw error
        }
        Failpoint.hit("bootstrap.staged")
        try folder.commit()
        return staged
    }

    // MARK: - A bundle that is whole

    private struct Opened {
        var number: Int
        var index: BundleIndex
        var entries: [String: [UInt8]]
        var verdict: EventVerdict
    }

    private func stage(
        _ wanted: Int?, _ noted: NotedHead?
    ) async throws -> (Opened, damaged: [(number: Int, error: any Error)]) {
        let numbers = try await BundleShelf(store: store).numbers().filter { wanted == nil || $0 == wanted }
        guard !numbers.isEmpty else {
            throw BootstrapError(.missing, wanted.map { "bundle \($0)" } ?? "a bootstrap bundle")
        }
        var damaged: [(number: Int, error: any Error)] = []
        for number in numbers.reversed() {
            do {
                return (try await openBundle(number, noted), damaged)
            } catch let error as StoreError where ![.missing, .damaged].contains(error.reason) {
                throw error
            } catch let error where error is StoreError || error is RepositoryError {
                damaged.append((number, error))
                try folder.restart()
            }
        }
        throw damaged[0].error
    }

    private func openBundle(_ number: Int, _ noted: NotedHead?) async throws -> Opened {
        let subject = "bundle \(number)"
        let archive = try BootstrapBundle.open(
            try await BundleShelf(store: store).read(number), identity: identity, subject: subject)
        let list = try Archive.read(archive, subject: subject)
        guard let first = list.first, first.name == BundleIndex.entry else {
            throw RepositoryError(.damaged, subject, cause: "it does not begin with \(BundleIndex.entry)")
        }
        let index = try BundleIndex.read(first.bytes, subject: subject)
        let entries = Dictionary(list.map { ($0.name, $0.bytes) }, uniquingKeysWith: { $1 })
        guard let journal = entries[BundleIndex.journal] else {
            throw RepositoryError(.damaged, subject, cause: "it holds no journal")
        }
        try folder.write("state/journal.sqlite", journal)
        do {
            let verdict = try await Journal.open(folder: "\(folder.staging)/state", clock: clock)
                .verifyWhole(noted: noted)
            guard verdict.head == index.head.hash else {
                throw RepositoryError(.damaged, subject, cause: "its journal is not the one that it names")
            }
            return Opened(number: number, index: index, entries: entries, verdict: verdict)
        } catch let error as JournalError where error.code == .journalUnusable {
            // Told of the bundle: the file is gone again when a person reads this.
            throw RepositoryError(.damaged, subject, cause: "its journal: \(error.cause ?? error.message)")
        }
    }

    // MARK: - What is in it

    private func complete(_ opened: Opened) async throws -> Report {
        var report = Report(number: opened.number, index: opened.index, verdict: opened.verdict)
        try writeFiles(opened, &report)
        // Twice: first as it is now, so that stores can be asked with the secrets that came, then as it will be.
        try writeFleet(opened, root: folder.staging, lacking: .file(path: "\(folder.staging)/lacking"))
        let name = opened.index.isFolder ? "fleet" : "fleet.yaml"
        let fleet = try FleetReader.load("\(folder.staging)/\(name)")
        let journal = try await Journal.open(folder: fleet.state, clock: clock)
        try await takeOver(opened, fleet, journal, &report)
        try await leaveErased(opened, fleet, journal, &report)
        let rebuild = CatalogRebuild(fleet: fleet, journal: journal, open: open)
        for client in fleet.clientsByPriority where try await journal.erasure(of: client.id) == nil {
            do {
                report.catalog.append((client.id, try await rebuild.run(client)))
            } catch let error as WriterKeysError where error.isMissing {
                // It had none on the machine that is lost either.
                continue
            } catch {
                report.problems.append((client.id, error))
            }
        }
        try writeFleet(opened, root: folder.path)
        return report
    }

    private func writeFiles(_ opened: Opened, _ report: inout Report) throws {
        let subject = "bundle \(opened.number)"
        for (name, bytes) in opened.entries.sorted(by: { $0.key < $1.key }) {
            switch name.split(separator: "/").first {
            case "secrets":
                try folder.write(name, bytes)
                report.secrets += 1
            case "files", "runbooks": try folder.write(name, bytes)
            case "keys":
                let parts = name.split(separator: "/")
                guard parts.count == 2, let client = ClientID(String(parts[1])) else {
                    throw RepositoryError(.damaged, subject, cause: "'\(name)' is no client's keys")
                }
                try folder.write("state/\(name)", bytes)
                _ = try WriterKeys.read(of: client, state: "\(folder.staging)/state")
            default: break
            }
        }
        report.lacks = opened.index.secrets.filter { location(of: $0, opened) == nil }.map { secret in
            let source = secret.source
            return source.file.map { "file \($0)" } ?? source.env.map { "environment variable \($0)" }
                ?? source.credential.map { "credential \($0)" } ?? "command \(source.command?.first ?? "")"
        }
    }

    /// The entry of a secret, if it came along.
    private func location(of secret: BundleIndex.SecretFile, _ opened: Opened) -> String? {
        secret.entry.flatMap { $0.hasPrefix("secrets/") && opened.entries[$0] != nil ? $0 : nil }
    }

    /// - Parameters:
    ///   - root: where secrets and state are for whoever reads it.
    ///   - lacking: stands for secrets that did not come along; nil leaves them as they are. Nobody has seen yet whose bundle
    ///     it is: no program that a fleet file names runs before that.
    private func writeFleet(_ opened: Opened, root: String, lacking: SecretSource? = nil) throws {
        let files = try opened.index.fleetFiles.map { file in
            guard let bytes = opened.entries[file.entry], file.path.hasPrefix("/") else {
                throw RepositoryError(.damaged, "bundle \(opened.number)", cause: "it lacks \(file.entry)")
            }
            return FleetFile(path: file.path, bytes: bytes)
        }
        let targets = targets(opened, root: root)
        let rewritten = try FleetRewriter.rewrite(files, whole: "the fleet file in bundle \(opened.number)") { target in
            if let known = targets[target] { return known }
            if let lacking, case .secret = target { return .secret(lacking) }
            return target
        }
        for (file, origin) in zip(rewritten, opened.index.fleetFiles) {
            let name = opened.index.isFolder ? origin.entry : "fleet.yaml"
            guard !opened.index.isFolder || name.hasPrefix("fleet/") else {
                throw RepositoryError(.damaged, "bundle \(opened.number)", cause: "'\(name)' is no fleet file's name")
            }
            try folder.write(name, file.bytes, .replace)
        }
    }

    /// Where what the fleet file names leads from now on.
    private func targets(_ opened: Opened, root: String) -> [FleetReference.Target: FleetReference.Target] {
        let index = opened.index
        var targets: [FleetReference.Target: FleetReference.Target] = [
            .folder(index.state): .folder("\(root)/state")
        ]
        for secret in index.secrets {
            if let source = secret.source.secretSource, let entry = location(of: secret, opened) {
                targets[.secret(source)] = .secret(.file(path: "\(root)/\(entry)"))
            }
        }
        for file in index.files where file.entry.hasPrefix("files/") && opened.entries[file.entry] != nil {
            targets[.file(file.path)] = .file("\(root)/\(file.entry)")
        }
        if let storeFolder, let old = oldFolder(opened) { targets[.folder(old)] = .folder(storeFolder) }
        return targets
    }

    /// Where the fleet file says that the store lies from which everything comes.
    private func oldFolder(_ opened: Opened) -> String? {
        let files = opened.index.fleetFiles.compactMap { file in
            opened.entries[file.entry].map { FleetFile(path: file.path, bytes: $0) }
        }
        guard let settings = FleetReader.read(files, whole: "").fleet?.store(opened.index.store),
            case .folder(let path) = settings.kind
        else { return nil }
        return path
    }

    /// A client that was erased after the bundle was made stays erased. Who can write to a store alone cannot say so: its
    /// tombstone carries the mark of the client's keys, which are in the bundle.
    private func leaveErased(
        _ opened: Opened, _ fleet: Fleet, _ journal: Journal, _ report: inout Report
    ) async throws {
        for entry in opened.index.keys {
            let path = WriterKeys.path(of: entry.client, state: fleet.state)
            guard FileManager.default.fileExists(atPath: path) else { continue }
            let keys = try WriterKeys.read(of: entry.client, state: fleet.state)
            guard try await isErased(keys, fleet, &report) else { continue }
            try FileManager.default.removeItem(atPath: path)
            try await journal.beginErasure(of: entry.client, repository: keys.client)
            report.erased.append(entry.client)
        }
    }

    private func isErased(_ keys: WriterKeys, _ fleet: Fleet, _ report: inout Report) async throws -> Bool {
        var stores: [any ObjectStore] = [store]
        for settings in fleet.stores {
            // One that cannot be asked is told of when backups are looked for in it.
            do { stores.append(try await open(settings)) } catch { continue }
        }
        for store in stores {
            do {
                if try await Repository(unchecked: store, keys: keys).erasure() != nil { return true }
            } catch let error as RepositoryError {
                report.problems.append((keys.name, error))
            } catch is StoreError {
                continue
            }
        }
        return false
    }

    private func takeOver(
        _ opened: Opened, _ fleet: Fleet, _ journal: Journal, _ report: inout Report
    ) async throws {
        report.runs = try await journal.takeOver(
            payload: [
                "bundle": .integer(Int64(opened.number)), "store": .text(opened.index.store.text),
                "made": .text(JournalDate.text(opened.index.at)), "head": .text("\(opened.verdict.head)"),
            ])
        for client in fleet.clients {
            guard let placement = try await journal.placement(of: client.id) else { continue }
            var placed = try placement.services.decode(PlacedServices.self)
            for path in [\PlacedServices.mongo, \PlacedServices.redis] {
                let secret = opened.index.secrets.first { $0.source.file == placed[keyPath: path] }
                if let secret, placed[keyPath: path] != nil, let entry = location(of: secret, opened) {
                    placed[keyPath: path] = "\(folder.path)/\(entry)"
                }
            }
            try await journal.relocate(client.id, services: try JSONValue(encoding: placed))
        }
    }
}

extension BundleIndex.Source {
    /// nil unless it is exactly one of the four.
    var secretSource: SecretSource? {
        let all: [SecretSource] = [
            file.map { .file(path: $0) }, env.map { .env(name: $0) }, command.map { .command(arguments: $0) },
            credential.map { .credential(name: $0) },
        ].compactMap { $0 }
        return all.count == 1 ? all[0] : nil
    }
}
