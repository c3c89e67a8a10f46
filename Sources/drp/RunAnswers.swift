internal import DRPKit
internal import Foundation
internal import Migrate

/// Tells on stderr what a run does, a line a step.
struct RunNarrator: Sendable {
    let display: ProgressDisplay
    let isSilent: Bool
    /// Where several runs go on at once.
    var namesClient = false

    func tell(_ progress: RunProgress) {
        guard !isSilent else { return }
        let client = namesClient ? "\(progress.client) " : ""
        let step = "\(client)\(progress.ordinal + 1)/\(progress.count) \(progress.step)"
        switch progress.news {
        case .began(let attempt): say(progress, "\(step)\(attempt > 1 ? ", attempt \(attempt)" : "") …")
        case .says(let text): say(progress, "    \(client)\(Text.safe(text))")
        case .wasDone: say(progress, "    \(client)was done already")
        case .done: display.end()
        case .turnedBack(let fault):
            say(progress, "    FAILED: \(Text.safe(fault.text)) [\(fault.code.rawValue)]; all is taken back")
        case .takesBack(let attempt): say(progress, "\(step) back\(attempt > 1 ? ", attempt \(attempt)" : "") …")
        case .tookBack: display.end()
        case .failed(let fault, let retryAfter):
            let next = retryAfter.map { "; again in \(Text.seconds(Double($0.components.seconds)))" } ?? ""
            say(progress, "    FAILED: \(Text.safe(fault.text)) [\(fault.code.rawValue)]\(next)")
        }
    }

    private func say(_ progress: RunProgress, _ line: String) {
        display.end()
        Output.note(line)
    }
}

struct RunListAnswer: Answer {
    var runs: [RunEntry]

    var text: String {
        guard !runs.isEmpty else { return "No runs yet: see `drp migrate plan`." }
        let rows = runs.map { run in
            [
                "\(run.id)", "\(run.client)", run.runbook, run.inputs["target"] ?? "-", run.state.rawValue,
                Text.shortTime(run.started),
                run.finished.map { Text.seconds($0.timeIntervalSince(run.started)) } ?? "-",
            ]
        }
        return Text.table([["RUN", "CLIENT", "RUNBOOK", "TO", "STATE", "STARTED", "TOOK"]] + rows)
    }
}

/// One run: its steps, and the evidence that it leaves.
struct RunAnswer: Encodable {
    struct Step: Encodable {
        var name: String
        var state: StepStatus
        var seconds: Double?
        var attempts: Int
    }

    var run: RunEntry
    var steps: [Step]
    var evidence: MoveEvidence
    var error: String?
    var code: ErrorCode?
    var advice: String?

    init(_ report: RunReport, objectives: Objectives) {
        run = report.run
        steps = report.steps.map { step in
            let seconds = step.started.flatMap { started in step.finished.map { $0.timeIntervalSince(started) } }
            return Step(
                name: step.name, state: step.state, seconds: seconds,
                attempts: report.attempts.count { $0.step == step.ordinal })
        }
        evidence = MoveEvidence(report, objectives: objectives)
        error = report.error?.message
        code = report.error?.code
        advice = report.error?.advice
    }

    var text: String {
        let route = "\(evidence.source ?? "?") -> \(evidence.target ?? "?")"
        let title = "\(run.client): \(route), \(run.state.rawValue)"
        var rows: [[String]] = [["  run", "\(run.id)"]]
        if let data = evidence.data { rows.append(["  data", data]) }
        for domain in evidence.domains {
            let before = domain.before.isEmpty ? "no address" : domain.before.joined(separator: ", ")
            rows.append([
                "  dns",
                "\(domain.domain): \(before) -> \(domain.after.joined(separator: ", ")) (ttl \(domain.ttl) s, "
                    + "\(domain.authorities) of \(domain.authorities) authorities agree)",
            ])
        }
        if let status = evidence.apiStatus, let address = evidence.apiAddress {
            let words = Text.safe(evidence.apiBody ?? "").split(whereSeparator: \.isWhitespace).joined(separator: " ")
            let body = words.count > 66 ? words.prefix(65) + "…" : words[...]
            rows.append(["  api", "\(status) from \(address): \(body)"])
        }
        if let rpo = evidence.rpo {
            rows.append([
                "  RPO",
                rpo.basis == .measured
                    ? "nothing lost, measured: the frozen source holds what the target holds\(Self.verdict(rpo))"
                    : "\(Text.seconds(rpo.seconds)), age of the newest restored write, derived\(Self.verdict(rpo))",
            ])
        }
        if let rto = evidence.rto {
            rows.append([
                "  RTO", "\(Text.seconds(rto.seconds)), measured: from declared to serving\(Self.verdict(rto))",
            ])
        }
        if let downtime = evidence.downtime {
            rows.append([
                "  down",
                "\(Text.seconds(downtime)), measured: from the last write at the old side to the first answer at the new",
            ])
        }
        let times = steps.map { step in
            switch step.state {
            case .done: "\(step.name) \(step.seconds.map(Text.seconds) ?? "?")"
            case .pending: "(\(step.name))"
            case .active, .failed, .skipped, .undone: "\(step.name) \(step.state.rawValue)"
            }
        }
        // Five to a line: a hundred columns hold them.
        for start in stride(from: 0, to: times.count, by: 5) {
            let line = times[start..<min(start + 5, times.count)].joined(separator: ", ")
            rows.append([start == 0 ? "  steps" : "", line])
        }
        var lines = [title, Text.table(rows)]
        if let error, let code { lines.append("  FAILED  \(Text.safe(error)) [\(code.rawValue)]") }
        if let advice { lines.append("  next    \(advice)") }
        return lines.joined(separator: "\n")
    }

    private static func verdict(_ measured: MoveEvidence.Measured) -> String {
        guard let promised = measured.promisedSeconds, let isMet = measured.isMet else {
            return "; nothing was promised"
        }
        return "; promised \(Text.seconds(promised)): \(isMet ? "met" : "MISSED")"
    }
}

struct RunsAnswer: Answer {
    var runs: [RunAnswer] = []
    var problems: [BackupProblem] = []

    /// nil if every run is done.
    var code: ErrorCode? {
        let failed = runs.compactMap(\.code) + problems.map(\.code)
        guard let first = failed.first else { return nil }
        return runs.count + problems.count == failed.count ? first : .partial
    }

    var text: String { (runs.map(\.text) + problems.map(\.text)).joined(separator: "\n\n") }
}
