internal import DRPKit
internal import Foundation

/// Closes full packs and names them on a thread of its own, while others are being filled; each goes to all living targets,
/// at most two at a time to each, and its buffer is used again once the last of them has it. Whoever fills packs waits while
/// too many are on their way, for the slowest store.
///
/// `@unchecked`: all state is only touched under `condition`.
final class PackUploader: @unchecked Sendable {
    /// Packs that were pushed and are not in every store yet; beside them, each thread that stores chunks has one at most.
    private static let largestInFlight = 4
    private static let putsPerTarget = 2

    /// What one target still has to take.
    private struct Lane {
        var waiting: [ClosedPack] = []
        var running: [Int: (pack: ClosedPack, task: Task<Void, Never>)] = [:]
    }

    /// A pack that is on its way into the stores.
    private final class ClosedPack {
        let key: ObjectKey
        var bytes: [UInt8]
        /// Targets that do not have it yet.
        var users = 0
        /// Whether somebody may still read the bytes who is no user any more.
        var isReadOn = false

        init(key: ObjectKey, bytes: consuming [UInt8]) {
            self.key = key
            self.bytes = bytes
        }
    }

    private let targets: BackupTargets
    private let repository: Repository
    private let condition = NSCondition()
    private var queue: [OpenPack] = []
    private var lanes: [Int: Lane]
    private var inFlight = 0
    private var puts = 0
    private var stored: [StoredPack] = []
    private var buffers: [[UInt8]] = []
    private var isFinished = false
    /// Whether the thread has closed the last pack.
    private var isClosed = false
    private var failure: (any Error)?

    /// - Parameter repository: any of the targets': keys and names are the same in all.
    init(_ targets: BackupTargets, _ repository: Repository) {
        self.targets = targets
        self.repository = repository
        lanes = Dictionary(uniqueKeysWithValues: targets.living.map { ($0.id, Lane()) })
        // It ends with `finish` or `cancel`, one of which its owner calls.
        let thread = Thread { self.closePacks() }
        thread.name = "packs"
        thread.stackSize = 1 << 20
        thread.start()
    }

    /// An empty pack; its buffer has been used before where possible.
    func newPack() -> OpenPack { OpenPack(buffer: condition.withLock { buffers.popLast() } ?? []) }

    /// Waits while too many packs are on their way.
    /// - Throws: what ended the backup; the first store's error if none is left.
    func push(_ pack: consuming OpenPack) throws {
        condition.lock()
        defer { condition.unlock() }
        while inFlight >= Self.largestInFlight && failure == nil { condition.wait() }
        if let failure { throw failure }
        inFlight += 1
        queue.append(pack)
        condition.broadcast()
    }

    /// Waits until all packs are durable in every store that is left.
    func finish() throws -> [StoredPack] {
        condition.lock()
        defer { condition.unlock() }
        isFinished = true
        condition.broadcast()
        while failure == nil && !(isClosed && inFlight == 0) { condition.wait() }
        if let failure { throw failure }
        return stored
    }

    /// Gives up: packs that wait are dropped, both sides end.
    func cancel() {
        condition.withLock { end(RepositoryError(.aborted, "the backup")) }
    }

    // MARK: - The thread

    private func closePacks() {
        do {
            while var pack = next() {
                let trailer = try pack.close(repository.documents)
                let name = ContentHash(hashing: pack.bytes)
                let record = StoredPack(
                    name: name, epoch: repository.keys.epoch, size: Int64(pack.bytes.count), trailer: trailer)
                let key = repository.layout.pack(name)
                hand(ClosedPack(key: key, bytes: pack.taken()), record)
            }
            condition.withLock {
                isClosed = true
                condition.broadcast()
            }
        } catch {
            condition.withLock { end(error) }
        }
    }

    private func next() -> OpenPack? {
        condition.lock()
        defer { condition.unlock() }
        while queue.isEmpty && !isFinished && failure == nil { condition.wait() }
        return failure != nil || queue.isEmpty ? nil : queue.removeFirst()
    }

    private func hand(_ pack: ClosedPack, _ record: StoredPack) {
        condition.withLock {
            stored.append(record)
            // Targets may fail for other reasons than packs.
            for id in lanes.keys where !targets.isLiving(id) { drop(id) }
            guard failure == nil else { return }
            pack.users = lanes.count
            for id in lanes.keys {
                lanes[id]?.waiting.append(pack)
                startPuts(id)
            }
        }
    }

    // MARK: - Under the condition

    private func startPuts(_ id: Int) {
        while let lane = lanes[id], lane.running.count < Self.putsPerTarget, let pack = lane.waiting.first {
            puts += 1
            let (put, key) = (puts, pack.key)
            let store = targets.all[id].repository.store
            let task = Task { self.ended(put, of: id, await self.run(put, of: id, store, key)) }
            lanes[id]?.waiting.removeFirst()
            lanes[id]?.running[put] = (pack, task)
        }
    }

    /// - Returns: why it failed.
    private func run(_ put: Int, of id: Int, _ store: any ObjectStore, _ key: ObjectKey) async -> StoreError? {
        guard let bytes = condition.withLock({ lanes[id]?.running[put]?.pack.bytes }) else { return nil }
        do throws(StoreError) {
            try await store.put(key, bytes, .lasting)
        } catch {
            // The name is the hash of the bytes: if it is there, an answer got lost, and it is this pack.
            return error.reason == .alreadyThere ? nil : error
        }
        return nil
    }

    private func ended(_ put: Int, of id: Int, _ error: (any Error)?) {
        condition.withLock {
            // The target failed meanwhile: its packs have been let go.
            guard let (pack, _) = lanes[id]?.running.removeValue(forKey: put) else { return }
            letGo(pack)
            if let error { leave(id, error) } else { startPuts(id) }
            condition.broadcast()
        }
    }

    private func leave(_ id: Int, _ error: any Error) {
        targets.fail(targets.all[id], error)
        drop(id)
        do { try targets.requireOne() } catch { end(error) }
    }

    /// Its packs count no longer, also those that a put which was cancelled still reads.
    private func drop(_ id: Int) {
        guard let lane = lanes.removeValue(forKey: id) else { return }
        for (pack, task) in lane.running.values {
            task.cancel()
            pack.isReadOn = true
            letGo(pack)
        }
        for pack in lane.waiting { letGo(pack) }
    }

    private func letGo(_ pack: ClosedPack) {
        pack.users -= 1
        guard pack.users == 0 else { return }
        inFlight -= 1
        guard !pack.isReadOn else {
            pack.bytes = []
            return
        }
        let buffer = OpenPack.emptied(&pack.bytes)
        if buffers.count < 2 { buffers.append(buffer) }
    }

    private func end(_ error: any Error) {
        if failure == nil { failure = error }
        queue = []
        for lane in lanes.values { for (_, task) in lane.running.values { task.cancel() } }
        lanes = [:]
        condition.broadcast()
    }
}
