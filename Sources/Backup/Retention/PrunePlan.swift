package import DRPKit
package import Foundation

/// What a prune would do: a value that can be shown before anything happens.
package struct PrunePlan: Sendable {
    package struct Mark: Sendable, Codable, Equatable {
        package var number: Int
        /// When it was written, by the store's clock.
        package var at: Date
        /// From when on what it names may be deleted.
        package var due: Date
        package var backups: [Int]
        package var packs: Int
    }

    package struct Pack: Sendable, Equatable {
        package var name: ContentHash
        package var size: Int64
        /// In no backup at all: left by one that was interrupted, or of one that still runs.
        package var isOrphan: Bool
    }

    /// Newest first.
    package var decisions: [RetentionDecision]
    /// Marks that are there, oldest first.
    package var marks: [Mark]
    /// Backups that would be marked, oldest first.
    package var backups: [Int]
    /// Packs that would be marked.
    package var packs: [Pack]
    package var packsInAll: Int
    /// Slices and gaps of logs that would be marked: no backup that stays is old enough to need them.
    package var logs: [LogName]
    /// Why no backup expires now although rules would let some go.
    package var blocked: String?
    /// Why this plan wants the client's name.
    package var wants: [String]
    package var newestGood: Int?

    /// Lets nothing go.
    mutating func block(_ why: String) {
        blocked = why
        (backups, packs, logs, wants) = ([], [], [], [])
    }

    package var bytes: Int64 { packs.reduce(0) { $0 + $1.size } }
}

/// The rules of prune: from what a repository holds to what goes. Neither clock nor disk.
struct PruneRules: Sendable {
    /// A plan that lets more backups go at once wants the client's name.
    static let mostAtOnce = 10

    var retention: Retention
    var history: PruneHistory?

    /// What the next mark would name.
    /// - Parameters:
    ///   - marked: when each mark was written, by the store's clock.
    func plan(_ census: Census, marked: [Int: Date], grace: TimeInterval, now: Date) -> PrunePlan {
        let decisions = retention.decisions(census, now: now)
        let known = census.marks.backups
        let dropped = Set(decisions.filter { !$0.isKept }.map(\.backup.number))
        let fresh = dropped.subtracting(known)
        let blocked = fresh.isEmpty ? nil : blocked(census)
        let backups = blocked == nil ? fresh : []
        let staying = Set(census.backups.map(\.number)).subtracting(backups).subtracting(dropped.intersection(known))
        let isBlind = isBlind(census)
        return PrunePlan(
            decisions: decisions,
            marks: census.marks.marks.sorted { $0.key < $1.key }.compactMap { number, mark in
                marked[number].map {
                    PrunePlan.Mark(
                        number: number, at: $0, due: $0 + grace, backups: mark.backups, packs: mark.packs.count)
                }
            },
            backups: backups.sorted(), packs: isBlind ? [] : superfluous(census, staying: staying),
            packsInAll: census.packs.count,
            logs: isBlind
                ? [] : superfluousLogs(census, staying: staying).filter { !census.marks.logs.contains($0.text) },
            blocked: blocked, wants: wants(backups.count, of: census.backups.count - known.intersection(dropped).count),
            newestGood: census.newestGood)
    }

    /// What these marks may take now: all that they name and that still nobody needs.
    func dead(
        _ census: Census, marks: [Int], now: Date
    ) -> (backups: [Census.Backup], packs: [Census.Pack], logs: [LogName]) {
        guard !isBlind(census) else { return ([], [], []) }
        let marks = marks.compactMap { census.marks.marks[$0] }
        let dropped = Set(retention.decisions(census, now: now).filter { !$0.isKept }.map(\.backup.number))
        let going = dropped.intersection(marks.flatMap(\.backups))
        let needs = census.needs(Set(census.backups.map(\.number)).subtracting(going))
        let marked = Set(marks.flatMap(\.packs))
        let packs = census.packs.enumerated().filter { marked.contains($0.element.name) && !needs.contains($0.offset) }
        let named = Set(marks.flatMap(\.logs))
        let staying = Set(census.backups.map(\.number)).subtracting(going)
        return (
            census.backups.filter { going.contains($0.number) }, packs.map(\.element),
            superfluousLogs(census, staying: staying).filter { named.contains($0.text) }
        )
    }

    /// Whether the list of backups may be an old one, or somebody has removed them: then nothing is superfluous.
    private func isBlind(_ census: Census) -> Bool {
        guard let newest = census.newestGood else { return true }
        return history?.newest.map { newest < $0 } ?? false
    }

    /// Logs go forward from a backup. What ended before the oldest one began to be is of use to none.
    private func superfluousLogs(_ census: Census, staying: Set<Int>) -> [LogName] {
        let instants = census.backups.filter { staying.contains($0.number) }.map(\.instant)
        guard let oldest = instants.min() else { return [] }
        let last = Int64((oldest.timeIntervalSince1970 - Prune.clockTolerance).rounded(.down))
        return census.logs.filter { $0.to.seconds < last }
    }

    private func superfluous(_ census: Census, staying: Set<Int>) -> [PrunePlan.Pack] {
        let known = census.marks.packs
        let needed = census.needs(staying)
        let referenced = census.needs(Set(census.backups.map(\.number)))
        return census.packs.enumerated().filter { !needed.contains($0.offset) && !known.contains($0.element.name) }
            .map {
                PrunePlan.Pack(
                    name: $0.element.name, size: $0.element.size, isOrphan: !referenced.contains($0.offset))
            }
    }

    private func blocked(_ census: Census) -> String? {
        guard let newest = census.newestGood else { return "no backup is whole" }
        guard let last = history?.newest, newest <= last else { return nil }
        return "there is no new backup since the last prune, which saw backup \(last)"
    }

    private func wants(_ count: Int, of all: Int) -> [String] {
        var wants: [String] = []
        if count * 2 > all { wants.append("it drops more than half of the backups, \(count) of \(all)") }
        if count > Self.mostAtOnce { wants.append("it drops \(count) backups at once") }
        if let history, let shrunk = Self.shrunk(from: history.keep, to: retention.keep) { wants.append(shrunk) }
        return wants
    }

    /// - Returns: what became less, as a sentence; nil if nothing did.
    static func shrunk(from old: Policy.Keep?, to new: Policy.Keep?) -> String? {
        func count(_ keep: Policy.Keep?) -> Int {
            RetentionRule.allCases.count { rule in keep.flatMap { rule.places($0) } != nil }
        }
        // No rules keep all.
        guard count(new) > 0 else { return nil }
        guard let old, count(old) > 0, let new else { return "the policy kept everything at the last prune" }
        let less = RetentionRule.allCases.filter { ($0.places(old) ?? 0) > ($0.places(new) ?? 0) }
        guard !less.isEmpty else { return nil }
        let texts = less.map { rule in
            "\(rule.rawValue) \(rule.places(old) ?? 0) to \(rule.places(new) ?? 0)"
        }
        return "the policy keeps less than at the last prune: \(texts.joined(separator: ", "))"
    }
}
