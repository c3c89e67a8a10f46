package import Foundation

/// Decides what starts now: a function from values to values, without a clock and without memory.
package enum Scheduler {
    /// What is to run, and when.
    package struct Entry: Sendable, Hashable {
        package var client: ClientID
        package var kind: String
        package var schedule: Schedule
        /// The lower, the earlier among what is due at once.
        package var priority: Int
        /// How long one run may take.
        package var timeLimit: Duration
        /// For an entry that never ran: times due up to here are not caught up. Nil: it runs at once,
        /// since a client without any run has nothing.
        package var since: Date?

        package init(
            client: ClientID, kind: String, schedule: Schedule, priority: Int = 100,
            timeLimit: Duration = .seconds(6 * 3600), since: Date? = nil
        ) {
            self.client = client
            self.kind = kind
            self.schedule = schedule
            self.priority = priority
            self.timeLimit = timeLimit
            self.since = since
        }
    }

    package struct Key: Hashable, Sendable {
        package var client: ClientID
        package var kind: String

        package init(client: ClientID, kind: String) {
            self.client = client
            self.kind = kind
        }
    }

    /// What the journal knows of the run of an entry that was started last.
    package struct LastRun: Sendable, Hashable {
        /// The time due that it was started for.
        package var due: Date
        /// False while it runs, and for ever if drp died meanwhile. A run that failed is finished.
        package var isFinished: Bool
        /// How often it was started for `due`.
        package var attempts: Int

        package init(due: Date, isFinished: Bool, attempts: Int = 1) {
            self.due = due
            self.isFinished = isFinished
            self.attempts = attempts
        }
    }

    /// Something is due and does not run.
    package struct Late: Sendable, Hashable {
        package var client: ClientID
        package var kind: String
        package var due: Date
        package var reason: Reason
        package enum Reason: String, Sendable, Codable {
            /// Another job of this client runs.
            case clientBusy
            /// As many jobs run as are allowed at once.
            case noRoom
            /// Died too often for this time due; the next one starts as usual.
            case gaveUp
        }
    }

    package struct Decision: Sendable, Hashable {
        /// In the order in which they should start.
        package var start: [Job]
        package var late: [Late]
        /// Clients whose last run lies more than a day in the future: the clock was set back.
        package var clockWentBack: [ClientID]
        /// When to ask again even if nothing ends before; nil without entries.
        package var nextWake: Date?
    }

    /// The most starts for one time due when drp dies each time.
    package static let maximumAttempts = 3

    /// - Parameters:
    ///   - now: May jump in either direction between calls. Times missed while nothing asked are caught
    ///     up once, for the latest of them; a time that was already started is not started again, unless the
    ///     clock went back by over a day: then one run starts at once.
    ///   - running: Clients that a job runs for; they get no second one.
    ///   - limit: How many jobs may run at once, those in `running` included.
    package static func decide(
        now: Date, entries: [Entry], lastRuns: [Key: LastRun], running: Set<ClientID>, limit: Int = 2
    ) -> Decision {
        var decision = Decision(start: [], late: [], clockWentBack: [], nextWake: nil)
        var pending: [(entry: Entry, due: Date)] = []
        for entry in entries {
            var last = lastRuns[Key(client: entry.client, kind: entry.kind)]
            let due = entry.schedule.previous(atOrBefore: now)
            if let run = last, run.due.timeIntervalSince(now) > 86_400 {
                // Waiting until the clock gets there again could mean no backup for years. So one run starts now; as the
                // last one from then on, it brings the entry back into step with the clock.
                decision.clockWentBack.append(entry.client)
                last = LastRun(due: .distantPast, isFinished: true)
            }
            let wake = entry.schedule.next(after: max(now, last?.due ?? now))
            decision.nextWake = min(decision.nextWake ?? wake, wake)
            if let run = last {
                if due > run.due {
                    pending.append((entry, due))
                } else if !run.isFinished, !running.contains(entry.client) {
                    if run.attempts < maximumAttempts {
                        pending.append((entry, run.due))
                    } else {
                        decision.late.append(
                            Late(client: entry.client, kind: entry.kind, due: run.due, reason: .gaveUp))
                    }
                }
            } else if entry.since.map({ due > $0 }) ?? true {
                pending.append((entry, due))
            }
        }
        start(pending, now: now, running: running, limit: limit, in: &decision)
        return decision
    }

    private static func start(
        _ pending: [(entry: Entry, due: Date)], now: Date, running: Set<ClientID>, limit: Int,
        in decision: inout Decision
    ) {
        var busy = running
        let ordered = pending.sorted {
            ($0.entry.priority, $0.due, $0.entry.client, $0.entry.kind)
                < ($1.entry.priority, $1.due, $1.entry.client, $1.entry.kind)
        }
        for (entry, due) in ordered {
            let reason: Late.Reason? = busy.contains(entry.client) ? .clientBusy : busy.count >= limit ? .noRoom : nil
            if let reason {
                decision.late.append(Late(client: entry.client, kind: entry.kind, due: due, reason: reason))
            } else {
                busy.insert(entry.client)
                let deadline = now.addingTimeInterval(Double(entry.timeLimit.components.seconds))
                decision.start.append(Job(client: entry.client, kind: entry.kind, due: due, deadline: deadline))
            }
        }
    }
}
