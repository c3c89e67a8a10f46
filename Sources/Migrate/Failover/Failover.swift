package import DRPKit
package import Foundation

/// Carries out a failover: one run a client, so many at once, in the order of the plan. One that fails stops no other.
package struct Failover: Sendable {
    /// What became of one client.
    package struct Outcome: Sendable {
        package var client: ClientID
        package var result: Result<RunReport, any Error>
    }

    private let engine: RunEngine
    private let fleet: Fleet
    private var journal: Journal { engine.journal }

    package init(engine: RunEngine, fleet: Fleet) {
        self.engine = engine
        self.fleet = fleet
    }

    /// - Parameters:
    ///   - runbook: whose earlier runs a prediction is made from.
    ///   - limit: no backup that is younger: ransomware needs a point before the attack.
    package func plan(
        _ request: FailoverPlanner.Request, runbook: Runbook, until limit: Date? = nil
    ) async throws -> FailoverPlan {
        var known = FailoverPlanner.Knowledge()
        for placement in try await journal.placements() { known.places[placement.client] = placement.site }
        known.points = try await journal.restorePoints(until: limit)
        known.declaration = try await journal.declaration(of: request.site)
        if let declared = known.declaration?.at {
            for run in try await journal.runs(limit: .max) where run.kind == runbook.name && run.declared == declared {
                if run.state.isOpen { known.open[run.client] = run.id }
                if run.state == .done { known.moved[run.client] = run.id }
            }
        }
        known.seconds = try await prediction(runbook)
        return FailoverPlanner(fleet: fleet, known: known).plan(request, now: engine.clock.now)
    }

    private func prediction(_ runbook: Runbook) async throws -> Double? {
        var sum = 0.0
        for kind in Set(runbook.steps.map(\.kind)) {
            guard let seconds = RunEngine.prediction(from: try await journal.durations(ofStepKind: kind)) else {
                return nil
            }
            sum += seconds
        }
        return sum
    }

    /// Begins or goes on with what the plan says is open.
    /// - Parameters:
    ///   - declared: when the clock of the RTO started.
    ///   - at: `latest`; or the restore points of the plan.
    ///   - tell: called as each client ends.
    /// - Returns: in the order of the plan.
    /// - Throws: `CancellationError`, after all runs were paused on record.
    package func run(
        _ plan: FailoverPlan, runbook: Runbook, declared: Date, usesPoints: Bool,
        tell: @escaping @Sendable (Outcome) -> Void
    ) async throws -> [Outcome] {
        let rows = plan.rows.filter { $0.state == .waits || $0.state == .begun }
        let outcomes = await withTaskGroup(of: Outcome.self) { group in
            var (next, outcomes) = (0, [ClientID: Outcome]())
            func begin() {
                guard next < rows.count, !Task.isCancelled else { return }
                let row = rows[next]
                next += 1
                group.addTask {
                    do {
                        return Outcome(
                            client: row.client,
                            result: .success(try await one(row, plan.site, runbook, declared, usesPoints)))
                    } catch { return Outcome(client: row.client, result: .failure(error)) }
                }
            }
            for _ in 0..<max(1, plan.parallel) { begin() }
            while let outcome = await group.next() {
                tell(outcome)
                outcomes[outcome.client] = outcome
                begin()
            }
            return outcomes
        }
        try Task.checkCancellation()
        return rows.compactMap { outcomes[$0.client] }
    }

    private func one(
        _ row: FailoverPlan.Row, _ site: SiteName, _ runbook: Runbook, _ declared: Date, _ usesPoints: Bool
    ) async throws -> RunReport {
        if row.state == .begun, let run = row.run { return try await engine.resume(run) }
        let target = row.target?.text ?? ""
        let inputs = [
            "client": row.client.text, "target": target, "source": site.text,
            "at": usesPoints ? row.point.map { "\($0.number)" } ?? "latest" : "latest",
        ]
        // A planned move that was under way is overtaken by the fire.
        return try await engine.start(
            runbook, client: row.client, inputs: inputs, declared: declared, unfinished: .supersede)
    }
}
