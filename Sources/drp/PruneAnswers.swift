internal import Backup
internal import DRPKit
internal import Foundation

struct PrunePlanAnswer: Answer {
    struct Backup: Encodable {
        var number: Int
        var instant: Date
        var isWhole: Bool
        var isKept: Bool
        var reasons: [String]
    }

    struct Plan: Encodable {
        var client: ClientID
        var store: StoreName
        var backups: [Backup]
        /// Backups and packs that a run would mark, and their bytes.
        var drop: [Int]
        var packs: Int
        var packsInAll: Int
        var bytes: Int64
        /// Slices and gaps of logs that it would mark.
        var logs: Int
        var marks: [PrunePlan.Mark]
        var blocked: String?
        var wantsConfirmation: [String]
    }

    var plans: [Plan] = []
    var problems: [BackupProblem] = []

    mutating func add(_ client: ClientID, _ outcomes: [PruneJob.Outcome<PrunePlan>]) {
        for outcome in outcomes {
            switch outcome.result {
            case .success(let plan): plans.append(Self.plan(client, outcome.store, plan))
            case .failure(let error): problems.append(BackupProblem(client: client, store: outcome.store, error))
            }
        }
    }

    private static func plan(_ client: ClientID, _ store: StoreName, _ plan: PrunePlan) -> Plan {
        Plan(
            client: client, store: store,
            backups: plan.decisions.map { decision in
                Backup(
                    number: decision.backup.number, instant: decision.backup.instant, isWhole: decision.backup.isGood,
                    isKept: decision.isKept, reasons: decision.reasons.map(\.text))
            },
            drop: plan.backups, packs: plan.packs.count, packsInAll: plan.packsInAll, bytes: plan.bytes,
            logs: plan.logs.count, marks: plan.marks, blocked: plan.blocked, wantsConfirmation: plan.wants)
    }

    var text: String { (plans.map(Self.text) + problems.map(\.text)).joined(separator: "\n\n") }

    private static func text(_ plan: Plan) -> String {
        let kept = plan.backups.count(where: \.isKept)
        var lines = ["\(plan.client) in \(plan.store): \(plan.backups.count) backups, \(kept) stay"]
        if !plan.backups.isEmpty {
            let rows = plan.backups.map { backup in
                let why = backup.isKept ? backup.reasons.joined(separator: ", ") : "no rule keeps it"
                let state = backup.isWhole ? "" : " (not whole)"
                return [
                    "\(plan.client)/\(backup.number)", Text.shortTime(backup.instant),
                    backup.isKept ? "stays" : "goes", why + state,
                ]
            }
            lines.append(Text.table([["BACKUP", "OF", "", "BECAUSE"]] + rows, indent: "  "))
        }
        lines.append(
            "  a run marks \(plan.drop.count) backups and \(plan.packs) of \(plan.packsInAll) packs "
                + "(\(Text.bytes(plan.bytes)))\(logs(plan.logs))")
        lines += plan.marks.map(Self.text)
        if let blocked = plan.blocked { lines.append("  no backup expires now: \(blocked)") }
        lines += plan.wantsConfirmation.map { "  wants --confirm \(plan.client): \($0)" }
        return lines.joined(separator: "\n")
    }

    static func logs(_ count: Int) -> String { count == 0 ? "" : " and \(count) slices of logs" }

    static func text(_ mark: PrunePlan.Mark) -> String {
        "  mark \(mark.number): \(mark.backups.count) backups and \(mark.packs) packs, to be deleted from "
            + Text.shortTime(mark.due)
    }
}

struct PruneRunAnswer: Answer {
    struct Result: Encodable {
        var client: ClientID
        var store: StoreName
        var report: PruneReport
    }

    var results: [Result] = []
    var problems: [BackupProblem] = []

    mutating func add(_ client: ClientID, _ outcomes: [PruneJob.Outcome<PruneReport>]) {
        for outcome in outcomes {
            switch outcome.result {
            case .success(let report): results.append(Result(client: client, store: outcome.store, report: report))
            case .failure(let error): problems.append(BackupProblem(client: client, store: outcome.store, error))
            }
        }
        for result in results where result.client == client && !result.report.unconfirmed.isEmpty {
            let error = UsageError(
                "nothing was marked: \(result.report.unconfirmed.joined(separator: "; "))",
                advice: "See `drp prune plan \(client)`, then give --confirm \(client)", code: .confirmationMissing)
            problems.append(BackupProblem(client: client, store: result.store, error))
        }
    }

    /// nil if everything went well.
    var code: ErrorCode? {
        guard let first = problems.first else { return nil }
        let isAll =
            results.allSatisfy { !$0.report.unconfirmed.isEmpty } && problems.allSatisfy { $0.code == first.code }
        return isAll ? first.code : .partial
    }

    var text: String { (results.map(Self.text) + problems.map(\.text)).joined(separator: "\n") }

    private static func text(_ result: Result) -> String {
        let report = result.report
        var lines: [String] = []
        if let removed = report.removed {
            let spared = removed.spared == 0 ? "" : ", \(removed.spared) packs are needed again and stay"
            lines.append(
                "  deleted \(removed.backups.count) backups\(list(removed.backups)) and \(removed.packs) packs "
                    + "(\(Text.bytes(removed.bytes)))\(PrunePlanAnswer.logs(removed.logs))\(spared)")
        }
        if let marked = report.marked {
            lines.append(
                "  marked \(marked.backups.count) backups\(list(marked.backups)) and \(marked.packs) packs "
                    + "(\(Text.bytes(marked.bytes)))\(PrunePlanAnswer.logs(marked.logs)); a later run deletes them")
        }
        lines += report.waiting.map(PrunePlanAnswer.text)
        if let blocked = report.blocked { lines.append("  no backup expires now: \(blocked)") }
        if lines.isEmpty { lines.append(report.unconfirmed.isEmpty ? "  nothing to do" : "  nothing was done") }
        return (["\(result.client) in \(result.store):"] + lines).joined(separator: "\n")
    }

    private static func list(_ numbers: [Int]) -> String {
        numbers.isEmpty
            ? ""
            : " (\(numbers.prefix(12).map(String.init).joined(separator: ", "))"
                + (numbers.count > 12 ? ", …)" : ")")
    }
}
