package import DRPKit
package import Foundation

/// What retention has to know of a backup.
package struct RetentionCandidate: Sendable, Hashable {
    package var number: Int
    package var instant: Date
    /// Whether everything that it needs is there. One that is not good takes no place from one that is.
    package var isGood: Bool

    package init(number: Int, instant: Date, isGood: Bool = true) {
        self.number = number
        self.instant = instant
        self.isGood = isGood
    }
}

/// Which backups of a client stay, and why. A function from values to values.
///
/// Each rule has places, which go to the newest backups (`last`) or to the newest backup of each of the newest periods
/// that have one (all others): a week without backups costs no place. What has a place by any rule stays.
package struct Retention: Sendable {
    /// By so much a source's clock may be ahead of ours.
    package static let clockTolerance: TimeInterval = 300

    /// nil, or a value without any rule, keeps all.
    package var keep: Policy.Keep?
    /// Of the policy's schedule: whose days and weeks count.
    package var zone: TimeZone
    package var isHeld: Bool
    /// The backup that the last drill proved.
    package var lastDrilled: Int?

    package init(keep: Policy.Keep?, zone: TimeZone, isHeld: Bool = false, lastDrilled: Int? = nil) {
        self.keep = keep
        self.zone = zone
        self.isHeld = isHeld
        self.lastDrilled = lastDrilled
    }

    /// - Parameters:
    ///   - backups: in any order; no number twice.
    ///   - leased: those that a running capture builds on.
    /// - Returns: one decision a backup, the newest first.
    package func decisions(
        _ backups: [RetentionCandidate], leased: Set<Int> = [], now: Date
    ) -> [RetentionDecision] {
        let sorted = backups.sorted { ($0.instant, $0.number) > ($1.instant, $1.number) }
        // One from the future would hold the first place of every rule for ever.
        let (future, past) = (
            sorted.filter { $0.instant > now + Self.clockTolerance },
            sorted.filter { $0.instant <= now + Self.clockTolerance }
        )
        var reasons: [Int: [RetentionReason]] = [:]
        func keep(_ backup: RetentionCandidate?, _ reason: RetentionReason) {
            guard let backup, reasons[backup.number]?.contains(reason) != true else { return }
            reasons[backup.number, default: []].append(reason)
        }
        if isHeld { for backup in sorted { keep(backup, .held) } }
        for backup in sorted where leased.contains(backup.number) { keep(backup, .leased) }
        for backup in future { keep(backup, .future) }
        let good = past.filter(\.isGood)
        // By time and by number: these differ when a clock was set back.
        for newest in [good.first, good.max { $0.number < $1.number }] { keep(newest, .newestGood) }
        for newest in [past.first, sorted.max { $0.number < $1.number }] where newest?.isGood == false {
            keep(newest, .newest)
        }
        keep(sorted.first { $0.number == lastDrilled }, .lastDrilled)
        // The good share the places among themselves. One that is not good stays for as long as it would if it were: it may
        // be all that is left of something.
        for (backup, reason) in places(good) { keep(backup, reason) }
        for (backup, reason) in places(past) where !backup.isGood { keep(backup, reason) }
        if !hasRules { for backup in sorted { keep(backup, .noRules) } }
        return sorted.map { RetentionDecision(backup: $0, reasons: reasons[$0.number] ?? []) }
    }

    private var hasRules: Bool {
        keep.map { keep in RetentionRule.allCases.contains { $0.places(keep) != nil } } ?? false
    }

    /// - Parameter backups: the newest first.
    private func places(_ backups: [RetentionCandidate]) -> [(RetentionCandidate, RetentionReason)] {
        guard let keep else { return [] }
        var places: [(RetentionCandidate, RetentionReason)] = []
        for rule in RetentionRule.allCases {
            guard let count = rule.places(keep) else { continue }
            var taken = 0
            var periods: Set<Int> = []
            for backup in backups where taken < count {
                if let period = rule.period(of: backup.instant, in: zone), !periods.insert(period).inserted { continue }
                taken += 1
                places.append((backup, .place(rule, taken, of: count)))
            }
        }
        return places
    }
}

/// Whether one backup stays, with every reason; none means that it goes.
package struct RetentionDecision: Sendable, Hashable {
    package var backup: RetentionCandidate
    package var reasons: [RetentionReason]
    package var isKept: Bool { !reasons.isEmpty }

    /// As `newest good, daily 1 of 7`, or `no rule keeps it`.
    package var text: String { isKept ? reasons.map(\.text).joined(separator: ", ") : "no rule keeps it" }
}

/// Why a backup stays.
package enum RetentionReason: Sendable, Hashable {
    case held
    case noRules
    /// The newest of all, which is not good.
    case newest
    case newestGood
    case lastDrilled
    /// A capture that may still run builds on it.
    case leased
    /// Its instant lies ahead of our clock.
    case future
    case place(RetentionRule, Int, of: Int)

    package var text: String {
        switch self {
        case .held: "held"
        case .noRules: "the policy has no rules"
        case .newest: "newest"
        case .newestGood: "newest good"
        case .lastDrilled: "last drilled"
        case .leased: "a running backup builds on it"
        case .future: "from the future"
        case .place(let rule, let place, let count): "\(rule.rawValue) \(place) of \(count)"
        }
    }
}

extension Fleet {
    /// What the client's policy keeps.
    func retention(of client: Client, isHeld: Bool) -> Retention {
        let policy = policy(of: client)
        return Retention(keep: policy?.keep, zone: policy?.schedule.timeZone ?? .gmt, isHeld: isHeld)
    }
}
