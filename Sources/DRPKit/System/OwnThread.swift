internal import Foundation

/// Runs blocking work on a thread of its own, away from Swift's cooperative pool.
package enum OwnThread {
    /// - Returns: what `body` returns, after its thread has ended it.
    /// - Throws: what `body` throws. Cancellation of the task does not interrupt `body`: whoever
    ///   needs that closes the queue or the socket on which `body` waits.
    package static func run<Result: Sendable>(
        _ name: String, _ body: @escaping @Sendable () throws -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            let thread = Thread { continuation.resume(with: Swift.Result { try body() }) }
            thread.name = name
            thread.stackSize = 4 << 20
            thread.start()
        }
    }

    /// Waits on a plain thread, never on the cooperative pool, until `operation` has ended.
    package static func wait<Result: Sendable>(for operation: @escaping @Sendable () async throws -> Result) throws
        -> Result
    {
        let box = ResultBox<Result>()
        Task {
            do { box.finish(.success(try await operation())) } catch { box.finish(.failure(error)) }
        }
        return try box.wait()
    }
}

/// Hands one result from a task to a thread that waits for it.
/// `@unchecked`: `result` is only touched under `condition`.
private final class ResultBox<Value: Sendable>: @unchecked Sendable {
    private let condition = NSCondition()
    private var result: Result<Value, any Error>?

    func finish(_ result: Result<Value, any Error>) {
        condition.lock()
        self.result = result
        condition.signal()
        condition.unlock()
    }

    func wait() throws -> Value {
        condition.lock()
        defer { condition.unlock() }
        while true {
            if let result { return try result.get() }
            condition.wait()
        }
    }
}
