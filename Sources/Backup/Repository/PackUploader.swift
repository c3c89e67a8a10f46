internal import DRPKit
internal import Foundation
internal import Synchronization

/// Closes full packs, names and stores them on a thread of its own, while others are being filled: flushing to
/// disk holds nobody up until `inFlight` packs wait.
final class PackUploader: Sendable {
    private static let inFlight = 1
    private let queue = BoundedQueue<OpenPack>(capacity: inFlight)
    private let results = BoundedQueue<[StoredPack]>(capacity: 1)
    private let buffers = Mutex<[[UInt8]]>([])

    init(_ repository: Repository) {
        // The thread holds the queues, not the uploader, so that an abandoned one can end it.
        let thread = Thread { [queue, results, weak self] in
            do {
                var stored: [StoredPack] = []
                while var pack = try queue.pop() {
                    stored.append(try Self.store(&pack, repository))
                    self?.recycle(pack)
                }
                try results.push(stored)
            } catch {
                queue.fail(error)
                results.fail(error)
            }
        }
        thread.name = "packs"
        thread.stackSize = 1 << 20
        thread.start()
    }

    deinit { cancel() }

    /// An empty pack; its buffer has been used before where possible.
    func newPack() -> OpenPack { OpenPack(buffer: buffers.withLock { $0.popLast() } ?? []) }

    /// Waits while too many packs are on their way.
    /// - Throws: what an earlier pack failed with.
    func push(_ pack: OpenPack) throws { try queue.push(pack) }

    /// Waits until all packs are durable.
    func finish() throws -> [StoredPack] {
        queue.finish()
        return try results.pop() ?? []
    }

    /// Gives up: packs that wait are dropped, both sides end.
    func cancel() {
        queue.fail(RepositoryError(.aborted, "the backup"))
        results.fail(RepositoryError(.aborted, "the backup"))
    }

    private func recycle(_ pack: consuming OpenPack) {
        let buffer = pack.emptied()
        buffers.withLock { if $0.count < 2 { $0.append(buffer) } }
    }

    private static func store(_ pack: inout OpenPack, _ repository: Repository) throws -> StoredPack {
        let trailer = try pack.close(repository.documents)
        let name = ContentHash(hashing: pack.bytes)
        let stored = StoredPack(
            name: name, epoch: repository.keys.epoch, size: Int64(pack.bytes.count), trailer: trailer)
        let (store, key) = (repository.store, repository.layout.pack(name))
        try OwnThread.wait { [bytes = pack.bytes] in
            do throws(StoreError) {
                try await store.put(key, bytes, .lasting)
            } catch {
                // The name is the hash of the bytes: if it is there, an answer got lost, and it is this pack.
                guard error.reason == .alreadyThere else { throw error }
            }
        }
        return stored
    }
}
