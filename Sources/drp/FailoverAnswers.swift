internal import DRPKit
internal import Foundation
internal import Migrate

struct DeclarationAnswer: Answer {
    var declaration: Declaration
    var isLost: Bool

    var text: String {
        let site = declaration.site
        guard isLost else { return "\(site) is not lost any more; it was since \(Text.shortTime(declaration.at))." }
        return """
            \(site) is lost since \(Text.shortTime(declaration.at)), declared by \(Text.safe(declaration.by)).
            Next: drp failover plan \(site), then drp failover run \(site) --identity FILE --confirm \(site)
            """
    }
}

struct FailoverPlanAnswer: Answer {
    var plan: FailoverPlan

    var text: String {
        guard !plan.rows.isEmpty else { return "No client lives at \(plan.site)." }
        let since = plan.declared.map { "lost since \(Text.shortTime($0))" } ?? "not declared lost; nothing was changed"
        var lines = ["\(plan.site): \(since); \(plan.parallel) at once"]
        let titles = ["WAVE", "CLIENT", "TO", "BACKUP", "WOULD LOSE", "PROMISED", "SERVES", "PROMISED"]
        lines.append(Text.table([titles] + plan.rows.map(Self.cells), indent: "  "))
        for row in plan.rows { if let problem = row.problem { lines.append("  \(row.client): \(problem)") } }
        let count = plan.rows.count { $0.state == .waits || $0.state == .begun }
        lines.append(
            "\(count) of \(plan.rows.count) clients are to be moved; the last one serves "
                + (plan.ends.map { "in about \(Text.seconds($0))" } ?? "at a time unknown (under three runs)"))
        return lines.joined(separator: "\n")
    }

    private static func cells(_ row: FailoverPlan.Row) -> [String] {
        let backup = row.point.map { "\($0.number)" } ?? "-"
        let serves = row.ends.map { "in \(Text.seconds($0))" } ?? "unknown"
        return [
            "\(row.wave)", row.client.text, row.target?.text ?? "-", backup, row.rpo.map(Text.seconds) ?? "unknown",
            FailoverAnswer.promise(row.rpo, row.promisedRPO), row.state == .moved ? "moved" : serves,
            row.promisedRTO.map(Text.seconds) ?? "-",
        ]
    }
}

/// What a failover came to: a row for each client, also for those that an earlier call moved.
struct FailoverAnswer: Answer {
    struct Row: Encodable {
        var client: ClientID
        var state: String
        var target: SiteName?
        var run: RunID?
        var data: String?
        var rpo: MoveEvidence.Measured?
        var rto: MoveEvidence.Measured?
        /// Seconds, as the plan predicted; nil if it could not.
        var predicted: Double?
        var error: String?
        var code: ErrorCode?
    }

    var site: SiteName
    var declared: Date
    var clients: [Row]
    /// Seconds from the declaration until the last one served; nil unless all do.
    var seconds: Double?

    init(_ plan: FailoverPlan, _ declaration: Declaration, _ outcomes: [Failover.Outcome], _ composition: Composition) {
        (site, declared) = (plan.site, declaration.at)
        let results = Dictionary(uniqueKeysWithValues: outcomes.map { ($0.client, $0.result) })
        clients = plan.rows.map { row in
            var answer = Row(
                client: row.client, state: row.state.rawValue, target: row.target, run: row.run, predicted: row.ends,
                error: row.problem, code: row.state == .impossible ? .stepFailed : nil)
            switch results[row.client] {
            case .success(let report):
                let evidence = MoveEvidence(report, objectives: composition.objectives(of: row.client))
                answer.state = report.run.state == .done ? "serves" : report.run.state.rawValue
                answer.run = report.run.id
                (answer.data, answer.rpo, answer.rto) = (evidence.data, evidence.rpo, evidence.rto)
                answer.error = report.error?.message
                answer.code = report.error?.code
            case .failure(let error):
                let fault = Fault(error)
                (answer.state, answer.error, answer.code) = ("failed", fault.text, fault.code)
            case nil: break
            }
            return answer
        }
        if clients.allSatisfy({ $0.code == nil }) { seconds = clients.compactMap(\.rto?.seconds).max() }
    }

    /// nil if every client serves.
    var code: ErrorCode? {
        let failed = clients.compactMap(\.code)
        guard let first = failed.first else { return nil }
        return failed.count == clients.count ? first : .partial
    }

    var text: String {
        let done = clients.count { $0.code == nil }
        var lines = [
            "\(site), lost since \(Text.shortTime(declared)): \(done) of \(clients.count) clients serve elsewhere"
        ]
        let titles = ["CLIENT", "STATE", "AT", "RPO", "PROMISED", "RTO", "PROMISED", "PREDICTED"]
        lines.append(Text.table([titles] + clients.map(Self.cells), indent: "  "))
        for row in clients {
            guard let error = row.error, let code = row.code else { continue }
            lines.append("  \(row.client): \(Text.safe(error)) [\(code.rawValue)]")
        }
        if code != nil {
            lines.append("Mend what is named, then run it again: it goes on with those that are left.")
        } else if let seconds {
            lines.append("The last one served \(Text.seconds(seconds)) after the declaration.")
        }
        return lines.joined(separator: "\n")
    }

    private static func cells(_ row: Row) -> [String] {
        let (rpo, rto) = (row.rpo, row.rto)
        return [
            row.client.text, row.state, row.target?.text ?? "-", rpo.map { Text.seconds($0.seconds) } ?? "-",
            promise(rpo?.seconds, rpo?.promisedSeconds), rto.map { Text.seconds($0.seconds) } ?? "-",
            promise(rto?.seconds, rto?.promisedSeconds), row.predicted.map(Text.seconds) ?? "unknown",
        ]
    }

    /// `5 min: met`
    static func promise(_ seconds: Double?, _ promised: Double?) -> String {
        guard let promised else { return "-" }
        guard let seconds else { return Text.seconds(promised) }
        return "\(Text.seconds(promised)): \(seconds <= promised ? "met" : "MISSED")"
    }

    static func line(_ outcome: Failover.Outcome) -> String {
        switch outcome.result {
        case .success(let report):
            let error = report.error.map { ": \(Text.safe($0.message))" } ?? ""
            return "\(outcome.client) \(report.run.state == .done ? "serves" : report.run.state.rawValue)\(error)"
        case .failure(let error): return "\(outcome.client) failed: \(Text.safe(Fault(error).text))"
        }
    }
}
