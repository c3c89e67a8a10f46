package import DRPKit
package import Foundation

/// What a run has come to.
package struct RunReport: Sendable, Codable, Hashable {
    package var run: RunEntry
    package var steps: [StepEntry]
    package var attempts: [AttemptEntry]

    /// The step at which the run waits, or at which its process died.
    package var waiting: StepEntry? { steps.first { $0.state == .failed || $0.state == .active } }

    /// nil unless the run waits, or was taken back by itself.
    package var error: RunError? {
        if run.state == .rolledBack, let text = run.error {
            return RunError(.rolledBack(Fault(code: run.errorCode ?? .stepFailed, text: text)), run: run.id)
        }
        guard run.state == .paused else { return nil }
        let failed = steps.first { $0.state == .failed }
        let step = failed?.name ?? "?"
        let last = attempts.last { $0.error != nil && (failed == nil || $0.step == failed?.ordinal) }
        let fault = Fault(code: last?.errorCode ?? .stepFailed, text: last?.error ?? run.error ?? "it failed")
        return RunError(.paused(step: step, fault), run: run.id)
    }
}

/// What a run says while it works, for those who look on.
package struct RunProgress: Sendable, Hashable {
    package enum News: Sendable, Hashable {
        case began(attempt: Int)
        /// Words of the step itself.
        case says(String)
        /// `apply` was not needed.
        case wasDone
        case done(StepOutcome)
        /// All that the run did is taken back, because of this.
        case turnedBack(Fault)
        case takesBack(attempt: Int)
        case tookBack
        case failed(Fault, retryAfter: Duration?)
    }

    package var run: RunID
    package var client: ClientID
    package var step: String
    /// From 0, of `count`.
    package var ordinal: Int
    package var count: Int
    package var news: News
}

/// Carries out runs: asks `RunState` what to do, writes it down, does it. Decides nothing of the domain.
///
/// One run holds the leases `run/ID` and `client/CLIENT` while a process works on it. A journal that cannot be written
/// ends the work at once, as a crash would. A step that does not end when its task is cancelled also holds up the
/// deadline: the run never goes on while a step may still be acting.
package struct RunEngine: Sendable {
    let journal: Journal
    let catalog: StepCatalog
    let clock: any WallClock
    let progress: @Sendable (RunProgress) -> Void

    package init(
        journal: Journal, catalog: StepCatalog, clock: any WallClock,
        progress: @escaping @Sendable (RunProgress) -> Void = { _ in }
    ) {
        self.journal = journal
        self.catalog = catalog
        self.clock = clock
        self.progress = progress
    }

    /// What would be done, step by step, without doing it.
    /// - Throws: `RunbookError` for missing inputs; what a step's `plan` throws.
    package func plan(
        _ runbook: Runbook, client: ClientID, inputs: [String: String], mode: RunMode = .real
    ) async throws -> [StepPlan] {
        let resolved = try runbook.resolved(with: inputs, mode: mode)
        let id = RunID(declared: clock.now, client: client, runbook: runbook.name, salt: 0)
        var plans: [StepPlan] = []
        for step in resolved.steps {
            guard let entry = catalog[step.kind] else { throw RunError(.unknownStep(kind: step.kind), run: id) }
            let context = StepContext(
                run: id, client: client, mode: mode, declared: clock.now, step: step.name, inputs: inputs,
                settings: step.settings, clock: clock, deadline: clock.now.advanced(by: step.deadline))
            var plan = try await entry.make().plan(context)
            plan.name = step.name
            plan.kind = step.kind
            plan.predictedSeconds = Self.prediction(from: try await journal.durations(ofStepKind: step.kind))
            plans.append(plan)
        }
        return plans
    }

    /// The median; nil under three.
    static func prediction(from seconds: [TimeInterval]) -> Double? {
        guard seconds.count >= 3 else { return nil }
        let sorted = seconds.sorted()
        let middle = sorted.count / 2
        return sorted.count.isMultiple(of: 2) ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
    }

    /// What to do with runs of the client that are not finished.
    package enum UnfinishedRuns: Sendable, Hashable {
        case refuse
        /// They are cancelled, on record. What their steps did stays as it is.
        case supersede
        /// Those that are drills are cancelled, on record; others refuse.
        case supersedeDrills
    }

    /// Begins a run and works on it until it is done or waits.
    /// - Parameter declared: when the clock of the RTO started; now without it.
    /// - Returns: also when a step failed: then `report.error` says so.
    /// - Throws: `RunbookError`; `JournalError.leased` if another process works on this client;
    ///   `RunError.unfinished`; `CancellationError`, after the run was paused on record.
    package func start(
        _ runbook: Runbook, client: ClientID, inputs: [String: String], mode: RunMode = .real, declared: Date? = nil,
        unfinished: UnfinishedRuns = .refuse
    ) async throws -> RunReport {
        let resolved = try runbook.resolved(with: inputs, mode: mode)
        let now = clock.now
        let salt = withUnsafeBytes(of: UUID().uuid) { $0.loadUnaligned(as: UInt16.self) }
        let id = RunID(declared: declared ?? now, client: client, runbook: runbook.name, salt: salt)
        let run = RunEntry(
            id: id, kind: runbook.name, client: client, runbook: runbook.name, runbookHash: runbook.sha256, mode: mode,
            inputs: inputs, declared: declared ?? now, started: now)
        let steps = resolved.steps.enumerated().map { ordinal, step in
            StepEntry(
                run: id, ordinal: ordinal, kind: step.kind, name: step.name, settings: StepOrder(step).json)
        }
        return try await holdingLeases(run: id, client: client) { leases in
            try await settleUnfinished(of: client, for: id, unfinished)
            try await journal.begin(run, steps: steps, holding: leases.run)
            return try await work(on: id, holding: leases)
        }
    }

    /// Goes on with a run whose process died or that waits, from what the journal holds; the runbook's file is not
    /// read again.
    /// - Throws: as `start`; `RunError.ended` and `.missing`.
    /// - Parameter decide: what a person decided meanwhile; called with the lease of the run.
    package func resume(
        _ id: RunID, _ decide: @escaping @Sendable (RunReport, LeaseEntry) async throws -> Void = { _, _ in }
    ) async throws -> RunReport {
        guard let run = try await journal.run(id) else { throw RunError(.missing, run: id) }
        return try await holdingLeases(run: id, client: run.client) { leases in
            // Read again under the lease: somebody else may have finished it in between.
            guard let run = try await journal.run(id), run.state.isOpen else {
                throw RunError(.ended(try await journal.run(id)?.state ?? .done), run: id)
            }
            try await decide(try await report(on: id), leases.run)
            try await journal.reopen(run.id, holding: leases.run)
            return try await work(on: id, holding: leases)
        }
    }

    /// Goes on with a run behind the step at which it waits, which is left out, on record.
    /// - Throws: as `resume`; `RunError.waitsNowhere`.
    package func skip(_ id: RunID, by person: String, reason: String) async throws -> RunReport {
        try await resume(id) { report, lease in
            guard report.run.direction == .forward, let step = report.waiting else {
                throw RunError(.waitsNowhere, run: id)
            }
            try await journal.skip(id, step: step.name, by: person, reason: reason, holding: lease)
        }
    }

    /// Goes on with a run from a step that it has come to already. What is done is observed, and not done again.
    /// - Parameter step: the one at which it waits without this.
    /// - Throws: as `resume`; `RunError.waitsNowhere`; `JournalError.missing` if the run has not come to that step.
    package func retry(_ id: RunID, from step: String?, by person: String) async throws -> RunReport {
        try await resume(id) { report, lease in
            guard report.run.direction == .forward, let name = step ?? report.waiting?.name else {
                throw RunError(.waitsNowhere, run: id)
            }
            try await journal.beginAgain(id, from: name, by: person, holding: lease)
        }
    }

    /// Takes back what a run did, its last step first. May be called again after a failure, and goes on.
    /// - Parameter accepts: whether what clients lose by it was seen and accepted.
    /// - Throws: as `resume`; `RunError.wouldLose`.
    package func rollBack(_ id: RunID, by person: String, reason: String, accepts: Bool) async throws -> RunReport {
        try await resume(id) { report, lease in
            guard report.run.direction == .forward else { return }
            let losses = try await losses(of: report)
            guard accepts || losses.isEmpty else { throw RunError(.wouldLose(losses), run: id) }
            try await journal.turnBack(id, by: person, reason: reason, holding: lease)
        }
    }

    /// What clients would lose if the run were taken back now.
    package func losses(of report: RunReport) async throws -> [String] {
        var losses: [String] = []
        for step in report.steps where step.state.isTouched {
            guard let entry = catalog[step.kind], let order = StepOrder(json: step.settings) else {
                throw RunError(.unknownStep(kind: step.kind), run: report.run.id)
            }
            let run = report.run
            losses += try await entry.make().losses(
                StepContext(
                    run: run.id, client: run.client, mode: run.mode, declared: run.declared, step: step.name,
                    inputs: run.inputs, settings: order.settings, outcomes: Self.outcomes(report.steps),
                    applied: StepOutcome(json: step.applied), notes: step.notes.object ?? [:], clock: clock,
                    deadline: clock.now.advanced(by: order.deadline)))
        }
        return losses
    }

    static func outcomes(_ steps: [StepEntry]) -> [String: StepOutcome] {
        let outcomes = steps.compactMap { step in StepOutcome(json: step.outcome).map { (step.name, $0) } }
        return Dictionary(outcomes, uniquingKeysWith: { $1 })
    }

    /// Agrees to what the run waits for, on record. It goes on when it is resumed.
    /// - Returns: the step's name.
    /// - Throws: `RunError.missing`; `.waitsNowhere` if it waits for no approval.
    package func approve(_ id: RunID, by person: String, reason: String?) async throws -> String {
        let report = try await report(on: id)
        guard let step = report.waiting, report.run.errorCode == .waitsForApproval else {
            throw RunError(.waitsNowhere, run: id)
        }
        try await journal.approve(id, step: step.name, by: person, reason: reason)
        return step.name
    }

    /// Gives a run up, on record; what its steps did stays as it is.
    package func cancel(_ id: RunID, reason: String) async throws {
        let lease = try await journal.acquireLease(Journal.leaseName(of: id))
        do { try await journal.cancel(id, reason: reason, holding: lease) } catch {
            try await journal.release(lease)
            throw error
        }
        try await journal.release(lease)
    }

    package func report(on id: RunID) async throws -> RunReport {
        guard let run = try await journal.run(id) else { throw RunError(.missing, run: id) }
        return RunReport(
            run: run, steps: try await journal.steps(of: id), attempts: try await journal.attempts(of: id))
    }

    private func settleUnfinished(of client: ClientID, for new: RunID, _ rule: UnfinishedRuns) async throws {
        for run in try await journal.openRuns(client: client) {
            guard rule == .supersede || (rule == .supersedeDrills && run.mode == .drill) else {
                throw RunError(.unfinished, run: run.id)
            }
            try await cancel(run.id, reason: "superseded by \(new)")
        }
    }

    private func work(on id: RunID, holding leases: RunLeases) async throws -> RunReport {
        let report = try await report(on: id)
        var worker = try RunWorker(engine: self, report: report, leases: leases)
        try await worker.work()
        return try await self.report(on: id)
    }

    /// Runs `body` while this process holds the leases of run and client, and says so every 15 s.
    private func holdingLeases(
        run: RunID, client: ClientID, _ body: @escaping @Sendable (RunLeases) async throws -> RunReport
    ) async throws -> RunReport {
        let clientLease = try await journal.acquireLease("client/\(client)")
        let runLease: LeaseEntry
        do { runLease = try await journal.acquireLease(Journal.leaseName(of: run)) } catch {
            await journal.giveBack([clientLease])
            throw error
        }
        do {
            let report = try await journal.beating([clientLease, runLease], by: clock) {
                try await body(RunLeases(run: runLease, client: clientLease))
            }
            await journal.giveBack([runLease, clientLease])
            return report
        } catch {
            await journal.giveBack([runLease, clientLease])
            throw error
        }
    }
}

/// What a process holds while it works on a run.
struct RunLeases: Sendable {
    var run: LeaseEntry
    var client: LeaseEntry
}

/// A step's settings as the journal keeps them: with the rule beside them, so that a resume needs no runbook.
struct StepOrder: Sendable {
    var settings: StepSettings
    var deadline: Duration
    var retries: Int
    var failure: FailureRule

    init(_ step: Runbook.Step) {
        failure = step.failure
        settings = step.settings
        deadline = step.deadline
        retries = step.retries
    }

    init?(json: JSONValue) {
        guard let object = json.object, let values = object["settings"]?.object,
            let seconds = object["deadline"]?.integer, let retries = object["retries"]?.integer
        else { return nil }
        settings = StepSettings(values)
        deadline = .seconds(seconds)
        self.retries = Int(clamping: retries)
        // Runs of older versions have none.
        failure = object["failure"]?.text.flatMap(FailureRule.init(rawValue:)) ?? .pause
    }

    var json: JSONValue {
        [
            "settings": .object(settings.values), "deadline": .integer(deadline.components.seconds),
            "retries": .integer(Int64(retries)), "failure": .text(failure.rawValue),
        ]
    }
}

extension Date {
    func advanced(by duration: Duration) -> Date {
        let (seconds, attoseconds) = duration.components
        return addingTimeInterval(TimeInterval(seconds) + TimeInterval(attoseconds) / 1e18)
    }
}
