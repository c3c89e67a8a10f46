package import DRPKit
package import Foundation

/// The keys of clients: made, shown, shared with more recipients and taken from them, begun anew; in every store of
/// the client's policy. The writer's half lies in the state folder, and is what says which epochs there are.
package struct ClientKeys: Sendable {
    /// One client's keys, as far as they may be shown.
    package struct Summary: Encodable, Sendable {
        package struct Epoch: Encodable, Sendable {
            package var epoch: Int
            package var fingerprint: String
        }

        package struct Holder: Encodable, Sendable {
            /// Named under `recovery` in the fleet file, or some other one: a drill host, a colleague for a day.
            package enum Role: String, Encodable, Sendable { case recovery, drill }

            package var recipient: String
            package var role: Role
            /// Epochs that it cannot open in some store.
            package var missing: [Int]
        }

        package var client: ClientID
        package var uuid: UUID
        /// Oldest first.
        package var epochs: [Epoch]
        package var holders: [Holder]
        package var stores: [StoreName]
        package var newest: Epoch { epochs[epochs.endIndex - 1] }
    }

    private let fleet: Fleet
    private let journal: Journal
    private let clock: any WallClock
    private let open: StoreOpener

    /// - Parameter open: makes the store that the settings describe.
    package init(
        fleet: Fleet, journal: Journal, clock: any WallClock,
        open: @escaping StoreOpener
    ) {
        self.fleet = fleet
        self.journal = journal
        self.clock = clock
        self.open = open
    }

    /// Makes a client's keys and its repository in every store of its policy. What is there stays.
    ///
    /// The stores come first and the writer's file last: a crash leaves a repository that nobody writes to, and the next call
    /// makes another with a new uuid. Once the writer's file is there, keys are never made again.
    /// - Returns: whether they were made now.
    package func make(_ client: Client) async throws -> Bool {
        try await journal.requireNotErased(client.id)
        let path = WriterKeys.path(of: client.id, state: fleet.state)
        if FileManager.default.fileExists(atPath: path) { return false }
        let root = RootKey.generate(client: UUID(), name: client.id)
        let recipients = try recovery()
        for settings in fleet.stores(of: client) {
            _ = try await Repository.initialize(
                store: try await open(settings), root: root, recipients: recipients, created: clock.now)
        }
        let keys = try root.writerKeys()
        try FileManager.default.createDirectory(
            atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700])
        try keys.write(to: path)
        try await record("keys.made", keys)
        return true
    }

    package func show(_ client: Client) async throws -> Summary {
        let keys = try read(client)
        let recovery = Set(try recovery())
        var held: [Recipient: [Int: Int]] = [:]
        let repositories = try await repositories(client, keys)
        for repository in repositories {
            for epoch in keys.all {
                for recipient in try await repository.recipients(epoch: epoch) {
                    held[recipient, default: [:]][epoch.epoch, default: 0] += 1
                }
            }
        }
        let holders = Set(held.keys).union(recovery).sorted { "\($0)" < "\($1)" }.map { recipient in
            Summary.Holder(
                recipient: "\(recipient)", role: recovery.contains(recipient) ? .recovery : .drill,
                missing: keys.all.map(\.epoch).filter { held[recipient]?[$0] != repositories.count })
        }
        return Summary(
            client: client.id, uuid: keys.client,
            epochs: keys.all.map { Summary.Epoch(epoch: $0.epoch, fingerprint: $0.fingerprint) }, holders: holders,
            stores: fleet.stores(of: client).map(\.name))
    }

    /// Lets a recipient open every backup of the client, older ones included. May be called again.
    /// - Parameter identity: one that can open them now.
    package func add(_ recipient: Recipient, to client: Client, identity: RecoveryIdentity) async throws {
        try await holdingLease(client) { keys in
            for repository in try await repositories(client, keys) {
                try await repository.add(recipient, roots: try await repository.rootKeys(identity))
            }
            try await record("keys.added", keys, ["recipient": .text("\(recipient)")])
        }
    }

    /// Takes a recipient's way in: it cannot open what it has no copy of, nor anything of the next epoch.
    /// - Throws: `KeysError` for a recipient of the fleet file, or one that is none.
    package func remove(_ recipient: Recipient, from client: Client) async throws {
        guard try !recovery().contains(recipient) else {
            throw KeysError(.isRecovery, "\(recipient)")
        }
        try await holdingLease(client) { keys in
            let repositories = try await repositories(client, keys)
            var isHolder = false
            for repository in repositories {
                for epoch in keys.all where try await repository.holds(recipient, epoch: epoch) { isHolder = true }
            }
            guard isHolder else { throw KeysError(.noRecipient, "\(recipient)") }
            for repository in repositories { try await repository.remove(recipient) }
            try await record("keys.removed", keys, ["recipient": .text("\(recipient)")])
        }
    }

    /// Begins a new epoch with a root key of its own, for the recipients of the one before. Older backups stay as they are; the
    /// next one shares nothing with them and is a full one.
    ///
    /// The stores come first, the writer's file last. A crash before that leaves an epoch that nobody writes to; the next
    /// call takes a higher number.
    package func rotate(_ client: Client) async throws {
        try await holdingLease(client) { keys in
            let repositories = try await repositories(client, keys)
            var recipients: Set<Recipient> = []
            var highest = keys.epoch
            for repository in repositories {
                highest = max(highest, try await repository.highestEpoch())
                recipients.formUnion(try await repository.recipients(epoch: keys))
            }
            if let missing = try recovery().first(where: { !recipients.contains($0) }) {
                throw KeysError(.notAdded(client.id), "\(missing)")
            }
            let root = RootKey.generate(client: keys.client, name: keys.name, epoch: highest + 1)
            for repository in repositories {
                try await repository.begin(epoch: root, recipients: Array(recipients), at: clock.now)
            }
            let newest = try root.writerKeys().following(keys.all)
            for repository in repositories { _ = try await Repository(store: repository.store, keys: newest) }
            try newest.write(to: WriterKeys.path(of: client.id, state: fleet.state), .replace)
            try await record("keys.rotated", newest)
        }
    }

    /// Proves that the identity opens every epoch of the client in every store, and that they are ours.
    /// - Returns: what fails, by store; empty if all is well.
    package func verify(_ client: Client, identity: RecoveryIdentity) async throws -> [StoreName: any Error] {
        let keys = try read(client)
        var failures: [StoreName: any Error] = [:]
        for settings in fleet.stores(of: client) {
            do {
                _ = try await Repository(store: try await open(settings), keys: keys).rootKeys(identity)
            } catch {
                failures[settings.name] = error
            }
        }
        return failures
    }

    /// With the keys as they are once nobody else works on the client.
    private func holdingLease(
        _ client: Client, _ body: @escaping @Sendable (WriterKeys) async throws -> Void
    ) async throws {
        try await journal.holding("client/\(client.id)") { _ in
            try await journal.requireNotErased(client.id)
            try await body(try read(client))
        }
    }

    private func read(_ client: Client) throws -> WriterKeys { try WriterKeys.read(of: client.id, state: fleet.state) }

    private func repositories(_ client: Client, _ keys: WriterKeys) async throws -> [Repository] {
        var repositories: [Repository] = []
        for settings in fleet.stores(of: client) {
            repositories.append(try await Repository(store: try await open(settings), keys: keys))
        }
        return repositories
    }

    private func recovery() throws -> [Recipient] {
        try fleet.recovery.map { text in
            guard let recipient = Recipient(text) else { throw KeysError(.badRecipient, text) }
            return recipient
        }
    }

    private func record(_ kind: String, _ keys: WriterKeys, _ more: [String: JSONValue] = [:]) async throws {
        let payload: [String: JSONValue] = [
            "uuid": .text(keys.client.uuidString.lowercased()), "epoch": .integer(Int64(keys.epoch)),
            "fingerprint": .text(keys.fingerprint),
        ]
        try await journal.append(
            event: kind, client: keys.name, payload: .object(payload.merging(more) { $1 }))
    }
}

/// What cannot be done with a recipient.
package struct KeysError: DRPError {
    package enum Reason: Sendable, Hashable { case badRecipient, isRecovery, noRecipient, notAdded(ClientID) }

    package var reason: Reason
    package var recipient: String

    init(_ reason: Reason, _ recipient: String) {
        self.reason = reason
        self.recipient = recipient
    }

    package var code: ErrorCode { reason == .badRecipient ? .fleetInvalid : .usage }

    package var message: String {
        switch reason {
        case .badRecipient: "'\(recipient)' in `recovery` is no recipient"
        case .isRecovery: "\(recipient) stands under `recovery` in the fleet file"
        case .noRecipient: "\(recipient) is no recipient of this client"
        case .notAdded:
            "\(recipient) stands under `recovery` in the fleet file and cannot open the client's backups yet"
        }
    }

    package var advice: String {
        switch reason {
        case .badRecipient: code.advice
        case .isRecovery: "Take it out of the fleet file first."
        case .noRecipient: "See `drp keys show` for those that there are."
        case .notAdded(let client): "Run `drp keys add \(client) --recipient \(recipient) --identity FILE` first."
        }
    }
}
