internal import DRPKit
internal import Synchronization

/// How far a capture, restore or verification is.
package struct MongoProgress: Sendable, Equatable {
    package enum Phase: String, Sendable { case catalog, documents, indexes, users, verification }

    package var phase: Phase
    package var documents: Int64
    package var bytes: Int64
    /// As the server counted them before, so about; 0 if it did not tell.
    package var totalDocuments: Int64
    package var totalBytes: Int64
}

/// Adds up what several threads have done and tells of it, a few times a second at most.
final class MongoMeter: Sendable {
    private struct State {
        var progress: MongoProgress
        var told: ContinuousClock.Instant?
    }

    private static let interval = Duration.milliseconds(250)
    private let state: Mutex<State>
    private let tell: @Sendable (MongoProgress) -> Void

    init(
        _ phase: MongoProgress.Phase, documents: Int64, bytes: Int64, tell: @escaping @Sendable (MongoProgress) -> Void
    ) {
        self.tell = tell
        let progress = MongoProgress(
            phase: phase, documents: 0, bytes: 0, totalDocuments: documents, totalBytes: bytes)
        state = Mutex(State(progress: progress))
        tell(progress)
    }

    func add(documents: Int, bytes: Int) {
        let now = ContinuousClock.now
        let due = state.withLock { state -> MongoProgress? in
            state.progress.documents += Int64(documents)
            state.progress.bytes += Int64(bytes)
            if let told = state.told, now - told < Self.interval { return nil }
            state.told = now
            return state.progress
        }
        if let due { tell(due) }
    }

    /// Tells the last state, whatever the time.
    func finish() { tell(state.withLock { $0.progress }) }
}

/// Ends all threads of one pipeline: the first error, or the cancellation of the task, counts.
final class StopSignal: Sendable {
    private struct State {
        var error: (any Error)?
        var listeners: [@Sendable (any Error) -> Void] = []
    }

    private let state = Mutex(State())

    /// - Throws: what stopped the pipeline.
    func check() throws {
        if let error = state.withLock({ $0.error }) { throw error }
    }

    func stop(_ error: any Error) {
        let listeners = state.withLock { state -> [@Sendable (any Error) -> Void] in
            if state.error != nil { return [] }
            state.error = error
            return state.listeners
        }
        for listener in listeners { listener(error) }
    }

    /// - Parameter listener: is called once, at once if the signal has been given already.
    func onStop(_ listener: @escaping @Sendable (any Error) -> Void) {
        let error = state.withLock { state -> (any Error)? in
            state.listeners.append(listener)
            return state.error
        }
        if let error { listener(error) }
    }

    /// Runs each of `bodies` on a plain thread of its own until all have ended.
    /// - Throws: what stopped them first, `CancellationError` if the task was cancelled.
    func run(_ name: String, _ bodies: [@Sendable () throws -> Void]) async throws {
        try await withTaskCancellationHandler {
            await withTaskGroup(of: Void.self) { group in
                for body in bodies {
                    group.addTask {
                        do {
                            try await OwnThread.run(name, body)
                        } catch {
                            self.stop(error)
                        }
                    }
                }
            }
            try check()
        } onCancel: {
            stop(CancellationError())
        }
    }

    /// Runs `body` on a plain thread of its own.
    func run<Result: Sendable>(_ name: String, _ body: @escaping @Sendable () throws -> Result) async throws -> Result {
        try await withTaskCancellationHandler {
            try check()
            let result = try await OwnThread.run(name, body)
            try check()
            return result
        } onCancel: {
            stop(CancellationError())
        }
    }
}
