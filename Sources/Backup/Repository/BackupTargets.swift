package import DRPKit
internal import Synchronization

/// The repositories of one client that one backup goes to, one a store. A store that fails is left behind with its
/// reason, and the others go on; what another writer has begun or taken over ends the backup in all of them.
package final class BackupTargets: Sendable {
    struct Target: Sendable {
        /// Its place among the targets.
        var id: Int
        /// nil for a repository that stands alone and needs no name.
        var store: StoreName?
        var repository: Repository
    }

    private struct State {
        var targets: [Target] = []
        var dead: Set<Int> = []
        var failures: [StoreName: any Error] = [:]
        var firstFailure: (any Error)?
    }

    private let state = Mutex(State())

    package init() {}

    /// One repository alone; its errors come as they are.
    init(_ repository: Repository) {
        state.withLock { $0.targets = [Target(id: 0, store: nil, repository: repository)] }
    }

    /// In the order in which numbers are asked for and committed; the same for every writer of the client.
    package func add(_ store: StoreName, _ repository: Repository) {
        state.withLock { $0.targets.append(Target(id: $0.targets.count, store: store, repository: repository)) }
    }

    /// Leaves a store behind that could not even be opened.
    package func fail(_ store: StoreName, _ error: any Error) {
        state.withLock { state in
            if state.failures[store] == nil { state.failures[store] = error }
            if state.firstFailure == nil { state.firstFailure = NamedStoreError(store, error) ?? error }
            for target in state.targets where target.store == store { state.dead.insert(target.id) }
        }
    }

    func fail(_ target: Target, _ error: any Error) {
        if let store = target.store { return fail(store, error) }
        state.withLock { state in
            if state.firstFailure == nil { state.firstFailure = error }
            state.dead.insert(target.id)
        }
    }

    var all: [Target] { state.withLock { $0.targets } }
    var living: [Target] { state.withLock { state in state.targets.filter { !state.dead.contains($0.id) } } }
    func isLiving(_ id: Int) -> Bool { state.withLock { !$0.dead.contains(id) } }

    /// Stores that are not left behind.
    package var livingStores: [StoreName] { living.compactMap(\.store) }
    package func repository(of store: StoreName) -> Repository? { living.first { $0.store == store }?.repository }

    /// Why a store was left behind; nil for one that was not.
    package func failure(of store: StoreName) -> (any Error)? { state.withLock { $0.failures[store] } }

    /// - Throws: the first failure if no store is left.
    package func requireOne() throws {
        let error = state.withLock { state -> (any Error)? in
            if state.targets.contains(where: { !state.dead.contains($0.id) }) { return nil }
            return state.firstFailure ?? NoStoreError()
        }
        if let error { throw error }
    }

    /// - Throws: `RepositoryError.erased` if any of the stores says that the client was erased: then it was in all of them.
    package func requireNotErased(_ stores: [StoreName]) throws {
        for store in stores {
            if let error = failure(of: store) as? RepositoryError, error.reason == .erased { throw error }
        }
    }

    /// Runs `body` for all living targets at once; one in which it fails is left behind.
    /// - Returns: results in the order of the targets.
    /// - Throws: what ends the backup in every store; the first failure if none is left.
    @discardableResult
    func each<Value: Sendable>(
        _ body: @escaping @Sendable (Target) async throws -> Value
    ) async throws -> [(target: Target, value: Value)] {
        let results = await withTaskGroup(of: (Target, Result<Value, any Error>).self) { group in
            for target in living {
                group.addTask {
                    do { return (target, .success(try await body(target))) } catch { return (target, .failure(error)) }
                }
            }
            var results: [(Target, Result<Value, any Error>)] = []
            for await result in group { results.append(result) }
            return results.sorted { $0.0.id < $1.0.id }
        }
        var values: [(target: Target, value: Value)] = []
        for (target, result) in results {
            switch result {
            case .success(let value): values.append((target, value))
            case .failure(let error): try leave(target, error)
            }
        }
        try requireOne()
        return values
    }

    /// - Throws: the error, if it ends the backup in every store.
    func leave(_ target: Target, _ error: any Error) throws {
        if error is CancellationError { throw error }
        if let error = error as? RepositoryError, [.leased, .overtaken, .erased].contains(error.reason) {
            throw target.store.flatMap { NamedStoreError($0, error) } ?? error
        }
        fail(target, error)
    }
}

/// A backup that has nowhere to go.
struct NoStoreError: DRPError, Equatable {
    var code: ErrorCode { .fleetInvalid }
    var message: String { "the client's policy names no store" }
}
