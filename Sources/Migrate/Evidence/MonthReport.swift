package import DRPKit
package import Foundation

/// What a month's runs prove, and what nobody proved: made from the journal alone.
package struct MonthReport: Sendable, Codable, Hashable {
    package struct Row: Sendable, Codable, Hashable {
        package var run: RunID
        package var client: ClientID
        package var kind: String
        package var mode: RunMode
        package var state: RunStatus
        package var declared: Date
        package var source: String?
        package var target: String?
        package var data: String?
        /// Derived from the backup's instant.
        package var rpo: MoveEvidence.Measured?
        /// Measured.
        package var rto: MoveEvidence.Measured?
        /// Of a drill: what left its networks; nil where the site does not count.
        package var packets: PacketCount?
        package var error: String?
    }

    package struct Chain: Sendable, Codable, Hashable {
        package var events: Int64
        package var head: ContentHash
        package var isWhole: Bool
    }

    package var fleet: String
    /// `2026-11`, in UTC.
    package var month: String
    package var made: Date
    /// By the time of their declaration.
    package var runs: [Row]
    package var standings: [Drill.Standing]
    package var chain: Chain

    package var drills: [Row] { runs.filter { $0.mode == .drill } }
    package var moves: [Row] { runs.filter { $0.mode == .real } }
    /// Runs that missed what was promised, or never came to serve.
    package var missed: [Row] {
        runs.filter { $0.state != .done || $0.rpo?.isMet == false || $0.rto?.isMet == false }
    }
    package var undrilled: [ClientID] { standings.filter { $0.state != .proven }.map(\.client) }

    /// - Parameters:
    ///   - month: `2026-11`.
    ///   - runbook: of drills, as it is now.
    package static func make(
        month: String, journal: Journal, fleet: Fleet, drill: Drill, runbook: Runbook, now: Date
    ) async throws -> MonthReport {
        let runs = try await journal.runs(limit: .max).filter { JournalDate.text($0.declared).hasPrefix(month) }
        var rows: [Row] = []
        for run in runs.reversed() {
            let report = RunReport(run: run, steps: try await journal.steps(of: run.id), attempts: [])
            let objectives = fleet.client(run.client).map { fleet.objectives(of: $0) } ?? Objectives()
            let evidence = MoveEvidence(report, objectives: objectives)
            rows.append(
                Row(
                    run: run.id, client: run.client, kind: run.kind, mode: run.mode, state: run.state,
                    declared: run.declared, source: evidence.source, target: evidence.target, data: evidence.data,
                    rpo: evidence.rpo, rto: evidence.rto, packets: evidence.packets,
                    error: run.state == .done ? nil : run.error))
        }
        let verdict = try await journal.verifyEvents()
        return MonthReport(
            fleet: fleet.name, month: month, made: now, runs: rows,
            standings: try await drill.standings(runbook: runbook, now: now),
            chain: Chain(events: verdict.count, head: verdict.head, isWhole: verdict.problems.isEmpty))
    }
}
