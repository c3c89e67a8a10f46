/// How often a holder says that it lives.
private let beatEvery = Duration.seconds(15)

/// Runs `body` while `beat` is called every 15 seconds; what `beat` throws ends both.
package func withHeartbeat<Value: Sendable>(
    by clock: any WallClock, beat: @escaping @Sendable () async throws -> Void,
    _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    try await withThrowingTaskGroup(of: Value?.self) { group in
        group.addTask { try await body() }
        group.addTask {
            while true {
                try await clock.sleep(for: beatEvery)
                try await beat()
            }
        }
        defer { group.cancelAll() }
        // The heartbeat never returns: what comes first is the value, or the first error of either.
        while let value = try await group.next() { if let value { return value } }
        throw CancellationError()
    }
}

/// Work under a lease: the holder says that it lives while it works, and gives the lease back however the work ends.
extension Journal {
    /// Takes the lease `name`, and runs `body` while this process holds it.
    /// - Parameter lasts: see `acquireLease`.
    /// - Throws: `JournalError.leased`; `.leaseLost` once another process has taken it over, after `body` was cancelled
    ///   and has ended; what `body` throws.
    package func holding<Value: Sendable>(
        _ name: String, lasts: Duration? = nil, _ body: @escaping @Sendable (LeaseEntry) async throws -> Value
    ) async throws -> Value {
        let lease = try await acquireLease(name, lasts: lasts)
        do {
            let value = try await beating([lease], by: clock) { try await body(lease) }
            await giveBack([lease])
            return value
        } catch {
            await giveBack([lease])
            throw error
        }
    }

    /// Runs `body` beside a heartbeat for leases that this process holds.
    package func beating<Value: Sendable>(
        _ leases: [LeaseEntry], by clock: any WallClock, _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        try await withHeartbeat(
            by: clock, beat: { for lease in leases { try await self.beatIfPossible(lease) } }, body)
    }

    /// Also when this task is cancelled: hence the task of its own. A lease that cannot be given back ends with the
    /// process, so a failure here must not hide what the work came to.
    package func giveBack(_ leases: [LeaseEntry]) async {
        await Task {
            for lease in leases { try? await self.release(lease) }
        }.value
    }

    /// Only a lost lease ends the work; a journal that is busy gets the next beat.
    private func beatIfPossible(_ lease: LeaseEntry) async throws {
        do { try await beat(lease) } catch let error as JournalError where error.reason != .leaseLost {}
    }
}
