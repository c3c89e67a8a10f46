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

    package enum Drill: String, Sendable, Hashable, CaseIterable { case weekly, monthly, quarterly, yearly }

    package var name: PolicyName
    package var schedule: Schedule
    /// How often a slice of the oplog is stored.
    package var log: Duration?
    package var keep: Keep?
    /// Every backup goes to all of them; not empty.
    package var stores: [StoreName]
    /// How long stored objects cannot be deleted, where the store can hold them.
    package var lock: Duration?
    package var drill: Drill?
}
