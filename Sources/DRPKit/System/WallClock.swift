package import Foundation

/// The time of day and waiting for it; the only file that reads either.
package protocol WallClock: Sendable {
    var now: Date { get }
    /// Returns after `duration` of real time, or throws `CancellationError`.
    func sleep(for duration: Duration) async throws
}

package struct SystemClock: WallClock {
    package init() {}
    package var now: Date { Date() }
    package func sleep(for duration: Duration) async throws { try await Task.sleep(for: duration) }
}
