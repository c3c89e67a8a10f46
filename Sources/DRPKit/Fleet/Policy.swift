/// When and where to backups go, shared by many clients.
package struct Policy: Sendable, Hashable {
    /// How many of each are kept; nil keeps none for that reason alone.
    package struct Keep: Sendable, Hashable, Codable {
        package var last: Int?
        package var hourly: Int?
        package var daily: Int?
        package var weekly: Int?
        package var monthly: Int?
        package var yearly: Int?

        package init(
            last: Int? = nil, hourly: Int? = nil, daily: Int? = nil, weekly: Int? = nil, monthly: Int? = nil,
            yearly: Int? = nil
        ) {
            self.last = last
            self.hourly = hourly
            self.daily = daily
            self.weekly = weekly
            self.monthly = monthly
            self.yearly = yearly
        }
    }

    /// Object lock of stored objects, where the store has it.
    package struct Lock: Sendable, Hashable {
        /// From the backup that needs an object last.
        package var lasts: Duration
        package var mode: LockMode

        package init(lasts: Duration, mode: LockMode) {
            self.lasts = lasts
            self.mode = mode
        }
    }

    package enum Drill: String, Sendable, Hashable, CaseIterable { case weekly, monthly, quarterly, yearly }

    package var name: PolicyName
    package var schedule: Schedule
    /// How often a slice of the oplog is stored.
    package var log: Duration?
    package var keep: Keep?
    /// Every backup goes to all of them; not empty.
    package var stores: [StoreName]
    package var lock: Lock?
    package var drill: Drill?
}

/// Who can end a lock before its time (S3 Object Lock).
package enum LockMode: String, Sendable, Hashable, Codable, CaseIterable {
    /// Nobody.
    case compliance
    /// Whoever has the right to bypass it.
    case governance
}
