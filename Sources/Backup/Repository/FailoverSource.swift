package import DRPKit
internal import Synchronization

/// Why a restore reads from another store than before.
package struct FallOver: Sendable {
    package var store: StoreName
    package var error: any Error

    package var reason: String { Fault(error).text }

    /// Of the event `restore.fellover`.
    package func payload(backup: Int) -> JSONValue {
        [
            "backup": .integer(Int64(backup)), "store": .text(store.text), "code": .text(Fault(error).code.rawValue),
            "error": .text(reason),
        ]
    }
}

/// Reads each chunk from the first store that gives it back whole: what is missing or damaged in one is read from the next. A
/// store that cannot be reached is asked last from then on.
package final class FailoverSource: ChunkSource {
    /// A store, and how its repository is opened; that is done once, when it is first needed.
    package struct Store: Sendable {
        var name: StoreName
        var open: @Sendable () async throws -> BackupReader

        package init(name: StoreName, open: @escaping @Sendable () async throws -> BackupReader) {
            self.name = name
            self.open = open
        }
    }

    private final class Slot: Sendable {
        let store: Store
        /// Held while the store is opened: one thread does it, the others wait.
        let reader = Mutex<BackupReader?>(nil)

        init(_ store: Store) { self.store = store }
    }

    private struct State {
        /// Slots, the one to ask first at first.
        var order: [Int]
        var told: Set<StoreName> = []
    }

    private let slots: [Slot]
    private let state: Mutex<State>
    private let tell: @Sendable (FallOver) async -> Void

    /// - Parameters:
    ///   - stores: nearest first; one at least.
    ///   - tell: is called once for each store from which something could not be read.
    package init(_ stores: [Store], tell: @escaping @Sendable (FallOver) async -> Void) {
        precondition(!stores.isEmpty, "a source of no store")
        slots = stores.map { Slot($0) }
        state = Mutex(State(order: Array(stores.indices)))
        self.tell = tell
    }

    /// Opens the first store that can be opened, so that what is wrong with all of them shows before the work begins.
    package func open() async throws {
        try await OwnThread.run("open") { try self.first { _ in } }
    }

    package func load(_ id: ChunkID, kind: ChunkKind) throws -> [UInt8] {
        try first { try $0.load(id, kind: kind) }
    }

    package func verifyID(_ id: ChunkID, kind: ChunkKind, hashes: [ContentHash]) throws {
        try first { try $0.verifyID(id, kind: kind, hashes: hashes) }
    }

    /// - Throws: the first store's error if none does it.
    private func first<Value>(_ body: (BackupReader) throws -> Value) throws -> Value {
        var failure: (any Error)?
        for index in state.withLock({ $0.order }) {
            let slot = slots[index]
            do {
                return try body(try reader(slot))
            } catch let error as CancellationError {
                throw error
            } catch {
                if slots.count == 1 { throw error }
                if failure == nil { failure = NamedStoreError(slot.store.name, error) ?? error }
                leave(index, error)
            }
        }
        throw failure ?? NoStoreError()
    }

    private func reader(_ slot: Slot) throws -> BackupReader {
        try slot.reader.withLock { reader in
            if let reader { return reader }
            let open = slot.store.open
            let opened = try OwnThread.wait { try await open() }
            reader = opened
            return opened
        }
    }

    private func leave(_ index: Int, _ error: any Error) {
        let name = slots[index].store.name
        let isGone = (error as? StoreError).map { $0.reason != .missing && $0.reason != .damaged } ?? false
        let isNew = state.withLock { state in
            if isGone {
                state.order.removeAll { $0 == index }
                state.order.append(index)
            }
            return state.told.insert(name).inserted
        }
        guard isNew else { return }
        let (tell, event) = (tell, FallOver(store: name, error: error))
        // What cannot be told must not end a restore that goes on.
        try? OwnThread.wait { await tell(event) }
    }
}
