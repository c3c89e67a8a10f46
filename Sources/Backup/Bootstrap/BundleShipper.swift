package import DRPKit
internal import Foundation

/// Ships what a new machine needs, sealed to the recovery recipients, into every store of every policy: after each run.
package struct BundleShipper: Sendable {
    package struct Report: Sendable {
        package var stored: [StoreName: Int] = [:]
        /// Stores whose newest bundle brings the same back.
        package var unchanged: [StoreName] = []
        /// What the fleet file names and could not be read.
        package var lacks: [String] = []
        /// What failed; without a store, everything did.
        package var problems: [(store: StoreName?, error: any Error)] = []
    }

    private static let lease = "bootstrap"
    /// Another process that ships meanwhile is waited for so many times so long.
    private static let (turns, turn) = (300, Duration.milliseconds(200))

    private let maker: BundleMaker
    private let open: StoreOpener
    private var journal: Journal { maker.journal }
    private var clock: any WallClock { maker.clock }

    /// - Parameters:
    ///   - program: the version of this program.
    ///   - open: makes the store that the settings describe.
    package init(
        fleetFile: String, journal: Journal, clock: any WallClock, resolver: SecretResolver, program: String,
        open: @escaping StoreOpener
    ) {
        maker = BundleMaker(
            fleetFile: fleetFile, journal: journal, clock: clock, resolver: resolver, program: program)
        self.open = open
    }

    /// May be called at any time, also by many processes: they take turns. What fails is in the report and in the journal:
    /// no backup and no move fails because of it.
    package func ship() async -> Report {
        do {
            return try await inTurn { try await shipNow() }
        } catch {
            // A journal that takes no event must not hide why.
            try? await journal.recordBundleFailure(in: nil, error)
            return Report(problems: [(nil, error)])
        }
    }

    private func inTurn(_ body: @escaping @Sendable () async throws -> Report) async throws -> Report {
        for _ in 1..<Self.turns {
            do {
                return try await journal.holding(Self.lease) { _ in try await body() }
            } catch let error as JournalError where error.code == .repositoryLeased {
                try await clock.sleep(for: Self.turn)
            }
        }
        return try await journal.holding(Self.lease) { _ in try await body() }
    }

    private func shipNow() async throws -> Report {
        let gathered = try await maker.gather()
        var report = Report(lacks: gathered.lacks)
        var wanting: [(settings: StoreSettings, store: any ObjectStore, last: BundleEntry?, numbers: [Int])] = []
        for settings in Self.stores(of: gathered.fleet) {
            do {
                let store = try await open(settings)
                let last = try await journal.bundleState(in: settings.name).entry
                let numbers = try await BundleShelf(store: store).numbers()
                if last != nil, numbers.isEmpty, try await store.folders().isEmpty {
                    // Passwords are not put where nobody looks, and no good news comes of it.
                    throw StoreError(
                        .unreachable, nil, cause: "it is empty, and had bundles before: is its disk mounted?")
                }
                if let last, last.content == gathered.content, numbers.contains(last.number) {
                    report.unchanged.append(settings.name)
                } else {
                    wanting.append((settings, store, last, numbers))
                }
            } catch {
                try await fail(settings.name, error, &report)
            }
        }
        guard !wanting.isEmpty else { return report }
        let recipients = try gathered.fleet.recovery.map { text in
            guard let recipient = Recipient(text) else { throw KeysError(.badRecipient, text) }
            return recipient
        }
        guard BootstrapBundle.recipientCounts.contains(recipients.count) else {
            throw StoreError(
                .unsupported, BundleShelf.folder, cause: "a bundle has 1 to 100 recipients, not \(recipients.count)")
        }
        let (copy, head) = try await copyOfJournal(state: gathered.fleet.state)
        for (settings, store, last, numbers) in wanting {
            do {
                let archive = try maker.archive(gathered, journal: copy, head: head, store: settings.name)
                guard archive.count <= BootstrapBundle.limit else {
                    throw StoreError(.full, BundleShelf.folder, cause: "the bundle has \(archive.count) bytes")
                }
                let bundle = try BootstrapBundle.seal(archive, to: recipients)
                let shelf = BundleShelf(store: try await locked(store, settings, gathered.fleet))
                let number = try await shelf.put(bundle, after: max(last?.number ?? 0, numbers.last ?? 0))
                // Older ones go only once this one was seen to be there, whole.
                guard try await shelf.read(number) == bundle else {
                    throw StoreError(
                        .damaged, BundleShelf.key(number), cause: "what the store holds is not what was sent")
                }
                Failpoint.hit("bootstrap.stored")
                try await journal.recordBundle(
                    BundleEntry(
                        store: settings.name, number: number, content: gathered.content, bytes: Int64(bundle.count),
                        lacks: gathered.lacks))
                report.stored[settings.name] = number
                try await tidy(shelf, numbers + [number], settings.name, gathered.fleet)
            } catch let error as JournalError {
                throw error
            } catch {
                try await fail(settings.name, error, &report)
            }
        }
        return report
    }

    private func fail(_ store: StoreName, _ error: any Error, _ report: inout Report) async throws {
        report.problems.append((store, error))
        try await journal.recordBundleFailure(in: store, error)
    }

    /// A hold stops every deletion, also this one.
    private func tidy(_ shelf: BundleShelf, _ numbers: [Int], _ store: StoreName, _ fleet: Fleet) async throws {
        for client in fleet.clients where try await journal.hold(of: client.id) != nil { return }
        try await shelf.tidy(numbers, keeping: try await journal.newestWholeBundle(in: store))
    }

    /// Stores that policies name, in the order of the file.
    package static func stores(of fleet: Fleet) -> [StoreSettings] {
        let used = Set(fleet.policies.flatMap(\.stores))
        return fleet.stores.filter { used.contains($0.name) }
    }

    /// Under the longest lock of the policies that use the store.
    private func locked(
        _ store: any ObjectStore, _ settings: StoreSettings, _ fleet: Fleet
    ) async throws(StoreError) -> any ObjectStore {
        let locks = fleet.policies.filter { $0.stores.contains(settings.name) }.compactMap(\.lock)
        guard let longest = locks.map(\.lasts).max(), try await store.canLock() else { return store }
        let mode: LockMode = locks.contains { $0.mode == .compliance } ? .compliance : .governance
        return store.locking(
            ObjectLock(mode: mode, until: clock.now + TimeInterval(longest.components.seconds)))
    }

    /// The journal's bytes, checked; the file that they were in is gone again.
    private func copyOfJournal(state: String) async throws -> ([UInt8], BundleIndex.Head) {
        let prefix = ".bundle-"
        // What a killed process left; nobody else works here while this lease is held.
        for name in try FileManager.default.contentsOfDirectory(atPath: state) where name.hasPrefix(prefix) {
            try FileManager.default.removeItem(atPath: "\(state)/\(name)")
        }
        let folder = "\(state)/\(prefix)\(ProcessIdentity.current.pid)"
        defer { try? FileManager.default.removeItem(atPath: folder) }  // The next one sweeps it.
        let (copy, verdict) = try await journal.copy(into: folder)
        let bytes = try Data(contentsOf: URL(fileURLWithPath: copy.path))
        return (Array(bytes), BundleIndex.Head(number: verdict.count, hash: verdict.head))
    }
}
