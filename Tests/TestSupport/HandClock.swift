internal import DRPKit
package import Foundation
internal import Synchronization

/// A clock that stands still until it is moved; sleeping moves it.
package final class HandClock: WallClock {
    private let time: Mutex<Date>

    package init(_ now: Date = Date(timeIntervalSince1970: 1_795_599_012.345)) { time = Mutex(now) }

    package var now: Date { time.withLock { $0 } }
    package func advance(_ seconds: TimeInterval) { time.withLock { $0 += seconds } }
    package func sleep(for duration: Duration) async throws { advance(TimeInterval(duration.components.seconds)) }
}
