internal import DRPKit
package import Foundation

/// Who can open a repository: recipients, epochs, and opening with nothing but an identity.
extension Repository {
    /// Makes the client's repository: the root key wrapped to each recipient, then the card. May be called again,
    /// also after a crash: what is there stays.
    package static func initialize(
        store: any ObjectStore, root: RootKey, recipients: [Recipient], created: Date
    ) async throws -> Repository {
        let repository = Self(unchecked: store, keys: try root.writerKeys())
        for recipient in recipients {
            let key = repository.layout.wrap(epoch: root.epoch, recipient)
            try await repository.putOnce(key, try root.wrap(to: recipient))
        }
        let card = RepositoryCard(keys: repository.keys, created: created.formatted(.iso8601))
        try await repository.putOnce(repository.layout.card, try card.encoded())
        try await repository.checkCard()
        for recipient in recipients { try await repository.checkWrap(recipient, of: repository.keys) }
        return repository
    }

    /// Opens a repository with nothing but an identity: what a new machine has after a fire.
    /// - Returns: the root keys of all epochs, oldest first.
    /// - Throws: as `init`, and `.notRecipient` if the root key is not wrapped to this identity.
    package static func open(
        store: any ObjectStore, client: UUID, identity: RecoveryIdentity
    ) async throws -> (repository: Repository, roots: [RootKey]) {
        let layout = RepositoryLayout(client: client)
        let card: RepositoryCard
        do { card = try await readCard(store, layout.card) } catch let error as RepositoryError
            where error.reason == .missing
        {
            // Whose it is cannot be proven any more: nothing is there either way.
            if let erasure = try await Erasure.unproven(in: store, layout) { throw erasure.refusal }
            throw error
        }
        guard card.client == client else {
            throw RepositoryError(.foreign, "\(layout.card)", cause: "it is of client \(card.client)")
        }
        var roots: [RootKey] = []
        var keys: WriterKeys?
        for epoch in try await epochs(in: store, layout) where epoch >= card.epoch {
            do {
                let wrapped = try await store.read(layout.wrap(epoch: epoch, identity.recipient))
                let root = try RootKey.open(
                    wrapped, client: client, name: card.name, epoch: epoch, identity: identity)
                let known = keys?.all ?? []
                let repository = Self(unchecked: store, keys: try root.writerKeys().following(known))
                // An epoch that none before it began is half made, or a stranger's.
                if epoch > card.epoch { try await repository.checkLink(repository.keys, earlier: known) }
                keys = repository.keys
                roots.append(root)
            } catch let error as StoreError where error.reason == .missing {
                continue
            } catch let error as RepositoryError where epoch > card.epoch && error.reason != .notRecipient {
                continue
            }
        }
        guard let keys, roots[0].epoch == card.epoch else {
            throw RepositoryError(
                .notRecipient, "the repository of \(card.name)", cause: "\(identity.recipient) is no recipient of it")
        }
        return (try await Repository(store: store, keys: keys), roots)
    }

    /// Opens the root keys of the epochs that the writer's keys know, oldest first.
    /// - Throws: `.foreign` if the fingerprint of an epoch is not that of the writer's keys; as `open`.
    package func rootKeys(_ identity: RecoveryIdentity) async throws -> [RootKey] {
        let there = try await Self.open(store: store, client: keys.client, identity: identity).roots
        var roots: [RootKey] = []
        for epoch in keys.all {
            guard let root = there.first(where: { $0.epoch == epoch.epoch }) else {
                throw RepositoryError(
                    .notRecipient, "epoch \(epoch.epoch) of \(keys.name)",
                    cause: "\(identity.recipient) is no recipient of it")
            }
            guard try root.writerKeys().fingerprint == epoch.fingerprint else {
                throw RepositoryError(
                    .foreign, "epoch \(epoch.epoch) of \(keys.name)", cause: "its fingerprint is not that of the keys")
            }
            roots.append(root)
        }
        return roots
    }

    /// Whom the epoch's root key is wrapped to, each proven by its mark.
    /// - Throws: `.damaged` for a wrap that the writer did not make.
    package func recipients(epoch: WriterKeys) async throws -> [Recipient] {
        var recipients: [Recipient] = []
        for wrap in try await store.list(layout.wraps(epoch: epoch.epoch)) {
            guard let recipient = Recipient(wrap.key.name) else {
                throw RepositoryError(.damaged, "\(wrap.key)", cause: "its name is no recipient")
            }
            try await checkWrap(recipient, of: epoch)
            recipients.append(recipient)
        }
        return recipients
    }

    /// Whether there is a wrap for the recipient, whoever made it.
    package func holds(_ recipient: Recipient, epoch: WriterKeys) async throws -> Bool {
        try await store.size(layout.wrap(epoch: epoch.epoch, recipient)) != nil
    }

    /// Lets a recipient open everything, what was written before included. No data are written again.
    /// - Parameter roots: of all epochs.
    package func add(_ recipient: Recipient, roots: [RootKey]) async throws {
        for root in roots {
            try await putOnce(layout.wrap(epoch: root.epoch, recipient), try root.wrap(to: recipient))
        }
        for epoch in keys.all { try await checkWrap(recipient, of: epoch) }
    }

    /// Takes a recipient's wraps away. Who kept a copy of one can still open what was written until the next epoch.
    package func remove(_ recipient: Recipient) async throws {
        for epoch in try await Self.epochs(in: store, layout) {
            try await store.delete(layout.wrap(epoch: epoch, recipient))
        }
    }

    /// The highest epoch that left anything in the store, begun or half begun.
    package func highestEpoch() async throws -> Int {
        let links = try await store.list(layout.epochs).compactMap { layout.epochNumber($0.key) }
        return max(keys.epoch, try await Self.epochs(in: store, layout).last ?? 0, links.max() ?? 0)
    }

    /// Makes the objects of a new epoch: wraps, then the link. It begins when the writer's file holds its keys.
    package func begin(epoch root: RootKey, recipients: [Recipient], at instant: Date) async throws {
        for recipient in recipients {
            try await store.put(layout.wrap(epoch: root.epoch, recipient), try root.wrap(to: recipient), .lasting)
        }
        let link = EpochLink.make(try root.writerKeys(), after: keys, at: instant)
        try await store.put(layout.epoch(root.epoch), link, .lasting)
    }

    func checkWrap(_ recipient: Recipient, of keys: WriterKeys) async throws {
        let wrapped = try await store.read(layout.wrap(epoch: keys.epoch, recipient))
        try WrappedRoot.check(wrapped, recipient: recipient, keys: keys)
    }

    func checkLink(_ epoch: WriterKeys, earlier: [WriterKeys]) async throws {
        let key = layout.epoch(epoch.epoch)
        do {
            try EpochLink.check(try await store.read(key), of: epoch, earlier: earlier, subject: "\(key)")
        } catch let error as StoreError where error.reason == .missing {
            throw RepositoryError(
                .foreign, "epoch \(epoch.epoch) of \(epoch.name)", cause: "no \(key) says that it began")
        }
    }

    /// Epochs that root keys are wrapped for, lowest first.
    private static func epochs(in store: any ObjectStore, _ layout: RepositoryLayout) async throws(StoreError) -> [Int]
    {
        let wraps = try await store.list(layout.wraps)
        let epochs = wraps.compactMap { layout.wrapEpoch($0.key) }
        return Set(epochs).sorted()
    }
}
