internal import Foundation

/// Hands values from threads to threads, at most `capacity` in flight: the back-pressure of a pipeline.
/// `@unchecked`: all state is only touched under `condition`.
package final class BoundedQueue<Element: Sendable>: @unchecked Sendable {
    private let condition = NSCondition()
    private let capacity: Int
    private var elements: [Element] = []
    private var isFinished = false
    private var failure: (any Error)?

    package init(capacity: Int) { self.capacity = capacity }

    /// Waits for room.
    /// - Throws: the error given to `fail`, so that a producer stops when a consumer broke.
    package func push(_ element: consuming Element) throws {
        condition.lock()
        defer { condition.unlock() }
        while elements.count >= capacity && failure == nil { condition.wait() }
        if let failure { throw failure }
        precondition(!isFinished, "push after finish")
        elements.append(element)
        condition.broadcast()
    }

    /// Waits for an element; nil after `finish` once all were taken.
    /// - Throws: the error given to `fail`.
    package func pop() throws -> Element? {
        condition.lock()
        defer { condition.unlock() }
        while true {
            if let failure { throw failure }
            if !elements.isEmpty {
                condition.broadcast()
                return elements.removeFirst()
            }
            if isFinished { return nil }
            condition.wait()
        }
    }

    /// No more elements will come.
    package func finish() {
        condition.lock()
        isFinished = true
        condition.broadcast()
        condition.unlock()
    }

    /// Ends both sides with `error`; the first one counts.
    package func fail(_ error: any Error) {
        condition.lock()
        if failure == nil { failure = error }
        condition.broadcast()
        condition.unlock()
    }
}
