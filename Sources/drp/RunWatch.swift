internal import DRPKit
internal import Foundation
internal import Migrate

/// Follows a run of any process by what the journal says: a picture that is redrawn on a terminal, a line for each change
/// elsewhere.
struct RunWatch: Sendable {
    static let columns = 80
    private static let pause = Duration.milliseconds(500)
    /// What the run says last, below its steps.
    private static let lastLines = 3

    private let composition: Composition
    private let isSilent: Bool
    private let isTerminal: Bool

    init(composition: Composition, isSilent: Bool) {
        self.composition = composition
        self.isSilent = isSilent
        isTerminal = isatty(STDERR_FILENO) == 1 && ProcessInfo.processInfo.environment["TERM"] != "dumb"
    }

    /// - Returns: once the run has ended or waits, or its process has died.
    func follow(_ id: RunID) async throws -> RunReport {
        let engine = try await composition.engine { _ in }
        var (told, drawn) = (RunTale(), 0)
        while true {
            // Asked first: what is read after the end is the end.
            let isHeld = try await composition.journal.leases().contains { $0.name == Journal.leaseName(of: id) }
            let report = try await engine.report(on: id)
            let lines = try await composition.journal.output(of: id, after: told.lastLine)
            let news = told.take(report, lines)
            if !isSilent {
                if isTerminal {
                    let frame = Self.frame(report, said: told.said.suffix(Self.lastLines), now: composition.clock.now)
                    draw(frame, over: drawn)
                    drawn = frame.count
                } else {
                    for line in news { Output.note(line) }
                }
            }
            guard report.run.state == .running, isHeld else { return report }
            try await composition.clock.sleep(for: Self.pause)
        }
    }

    private func draw(_ frame: [String], over drawn: Int) {
        let up = drawn > 0 ? "\u{1b}[\(drawn)A\u{1b}[J" : ""
        Output.note(up + frame.joined(separator: "\n"))
    }

    /// Lines of at most 80 columns.
    static func frame(_ report: RunReport, said: some Sequence<String>, now: Date) -> [String] {
        let (run, steps) = (report.run, report.steps)
        let took = (run.finished ?? now).timeIntervalSince(run.declared)
        let over = steps.count { $0.state.isOver }
        let back = run.direction == .back ? ", going back" : ""
        var lines = [
            "\(run.id)",
            "\(run.client) to \(run.inputs["target"] ?? "?")  \(run.state.rawValue)\(back)  "
                + "\(over) of \(steps.count) steps  \(Text.seconds(took)) since declared",
        ]
        let width = steps.map(\.name.count).max() ?? 0
        for step in steps {
            let time = step.started.map { Text.seconds((step.finished ?? now).timeIntervalSince($0)) } ?? ""
            let attempts = report.attempts.count { $0.step == step.ordinal }
            let tries = attempts > 1 ? "attempt \(attempts)" : ""
            let name = step.name + String(repeating: " ", count: width - step.name.count)
            lines.append("  \(sign(step.state)) \(name)  \(time)  \(tries)")
        }
        lines += said.map { "    \(Text.safe($0))" }
        if let error = run.error, run.state == .paused { lines.append("  \(Text.safe(error))") }
        return lines.map { line in
            let line = line.replacing("\n", with: " ")
            return line.count > columns ? line.prefix(columns - 1) + "…" : String(line)
        }
    }

    private static func sign(_ state: StepStatus) -> String {
        switch state {
        case .pending: "·"
        case .active: ">"
        case .done: "✓"
        case .failed: "✗"
        case .skipped: "-"
        case .undone: "<"
        }
    }
}

/// What was told of a run already, so that each change is told once.
struct RunTale {
    private(set) var lastLine: Int64 = 0
    private(set) var said: [String] = []
    private var states: [String: StepStatus] = [:]
    private var state: RunStatus?
    private static let mostKept = 100

    /// - Returns: what is new, a line each.
    mutating func take(_ report: RunReport, _ lines: [RunOutputLine]) -> [String] {
        var news: [String] = []
        for step in report.steps where states[step.name] != step.state {
            let isFirst = states[step.name] == nil
            states[step.name] = step.state
            if isFirst && step.state == .pending { continue }
            let time = step.finished.flatMap { end in step.started.map { Text.seconds(end.timeIntervalSince($0)) } }
            let took = step.state == .done ? time.map { " in \($0)" } ?? "" : ""
            news.append("\(step.ordinal + 1)/\(report.steps.count) \(step.name): \(step.state.rawValue)\(took)")
        }
        for line in lines {
            lastLine = max(lastLine, line.id)
            said.append("\(line.step): \(line.text)")
            news.append("    \(line.step): \(Text.safe(line.text))")
        }
        said.removeFirst(max(0, said.count - Self.mostKept))
        if state != report.run.state {
            state = report.run.state
            news.append("run \(report.run.id): \(report.run.state.rawValue)")
        }
        return news
    }
}
