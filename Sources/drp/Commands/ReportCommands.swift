internal import ArgumentParser
internal import DRPKit
internal import Foundation
internal import Migrate

struct ReportCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report", abstract: "What a month's drills and failovers prove.",
        discussion: """
            Examples:
              drp report month
              drp report month 2026-11 --html
            """,
        subcommands: [Month.self])

    struct Month: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Report a month: runs, objectives met and missed, clients never rehearsed, the chain's proof.",
            discussion: """
                Examples:
                  drp report month
                  drp report month 2026-11
                  drp report month 2026-11 --html

                Markdown without --html or --json. Made from the journal alone.
                """)

        @Argument(help: ArgumentHelp("As 2026-11, in UTC; this month without it.", valueName: "month"))
        var month: String?

        @Flag(name: .long, help: "One HTML page, complete in itself.")
        var html = false

        @OptionGroup var common: CommonOptions

        func validate() throws {
            guard let month else { return }
            let parts = month.split(separator: "-", omittingEmptySubsequences: false)
            guard parts.count == 2, parts[0].count == 4, Int(parts[0]) != nil, parts[1].count == 2,
                let number = Int(parts[1]), (1...12).contains(number)
            else { throw ValidationError("A month is written as 2026-11.") }
        }

        func run() async throws {
            let composition = try await common.composition()
            let (_, drill, runbook) = try await composition.drill { _ in }
            let now = composition.clock.now
            let report = try await MonthReport.make(
                month: month ?? String(JournalDate.text(now).prefix(7)), journal: composition.journal,
                fleet: composition.fleet, drill: drill, runbook: runbook, now: now)
            try Output.answer(MonthAnswer(report: report, isHTML: html), json: common.json)
        }
    }
}

struct MonthAnswer: Answer {
    var report: MonthReport
    var isHTML: Bool

    func encode(to encoder: any Encoder) throws { try report.encode(to: encoder) }

    var text: String { isHTML ? html : markdown }

    private static let titles = [
        "Declared", "Client", "What", "To", "State", "RPO (derived)", "RTO (measured)", "Data",
    ]

    private func cells(_ row: MonthReport.Row) -> [String] {
        [
            Text.shortTime(row.declared), row.client.text, "\(row.kind) (\(row.mode.rawValue))", row.target ?? "-",
            row.state.rawValue, Self.measured(row.rpo), Self.measured(row.rto),
            row.data.map { $0 + (row.packets.map { "; packets out: \($0.left + $0.toHost)" } ?? "") } ?? row.error
                ?? "-",
        ]
    }

    private static func measured(_ measured: MoveEvidence.Measured?) -> String {
        guard let measured else { return "-" }
        return
            "\(Text.seconds(measured.seconds)) of \(FailoverAnswer.promise(measured.seconds, measured.promisedSeconds))"
    }

    private var summary: [String] {
        let proven = report.standings.count - report.undrilled.count
        var lines = [
            "\(report.drills.count) drills and \(report.moves.count) migrations and failovers were declared.",
            "\(report.missed.count) of them missed an objective, or never came to serve.",
            "\(proven) of \(report.standings.count) clients have a drill that still proves their recovery.",
        ]
        lines.append(
            report.chain.isWhole
                ? "The record is whole: \(report.chain.events) events, the newest has the hash \(report.chain.head)."
                : "THE RECORD IS BROKEN: see `drp events verify`. Nothing here proves anything.")
        return lines
    }

    private var markdown: String {
        var lines = [
            "# \(report.fleet): \(report.month)", "", "Made \(Text.shortTime(report.made)) from the journal.", "",
        ]
        lines += summary.map { "- \($0)" } + [""]
        for (title, rows) in [("Drills", report.drills), ("Migrations and failovers", report.moves)] where !rows.isEmpty
        {
            lines += ["## \(title)", ""] + Self.table([Self.titles] + rows.map(cells)) + [""]
        }
        lines += ["## What each client's last drill proves now", ""]
        lines += Self.table([["Client", "Evidence", "Last success", "Because"]] + report.standings.map(Self.standing))
        return lines.joined(separator: "\n")
    }

    private static func standing(_ standing: Drill.Standing) -> [String] {
        [
            standing.client.text, standing.state.rawValue, standing.last.map(Text.shortTime) ?? "-",
            standing.because.isEmpty ? "-" : standing.because.joined(separator: "; "),
        ]
    }

    private static func table(_ rows: [[String]]) -> [String] {
        let lines = rows.map { row in
            "| "
                + row.map { Text.safe($0).replacing("|", with: "\\|").replacing("\n", with: " ") }
                .joined(separator: " | ") + " |"
        }
        let rule = "|" + String(repeating: " --- |", count: rows.first?.count ?? 0)
        return [lines[0], rule] + lines.dropFirst()
    }

    private var html: String {
        var body = ["<h1>\(Self.escaped(report.fleet)): \(report.month)</h1>"]
        body.append("<p>Made \(Text.shortTime(report.made)) from the journal.</p>")
        body.append("<ul>" + summary.map { "<li>\(Self.escaped($0))</li>" }.joined() + "</ul>")
        for (title, rows) in [("Drills", report.drills), ("Migrations and failovers", report.moves)] where !rows.isEmpty
        {
            body.append("<h2>\(title)</h2>" + Self.htmlTable([Self.titles] + rows.map(cells)))
        }
        body.append("<h2>What each client's last drill proves now</h2>")
        body.append(
            Self.htmlTable([["Client", "Evidence", "Last success", "Because"]] + report.standings.map(Self.standing)))
        return """
            <!DOCTYPE html>
            <html lang="en"><head><meta charset="utf-8"><title>\(Self.escaped(report.fleet)): \(report.month)</title>
            <style>
            body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1a1a1a }
            table { border-collapse: collapse; width: 100%; font-size: 14px }
            th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top }
            th { border-bottom: 2px solid #888; white-space: nowrap }
            .bad { color: #a40000; font-weight: 600 }
            </style></head><body>
            \(body.joined(separator: "\n"))
            </body></html>
            """
    }

    private static func htmlTable(_ rows: [[String]]) -> String {
        let lines = rows.enumerated().map { index, row in
            let tag = index == 0 ? "th" : "td"
            return "<tr>"
                + row.map { cell in
                    let isBad = ["MISSED", "never", "stale", "late", "paused", "rolled-back"].contains {
                        cell.contains($0)
                    }
                    return "<\(tag)\(isBad && index > 0 ? " class=\"bad\"" : "")>\(escaped(cell))</\(tag)>"
                }.joined() + "</tr>"
        }
        return "<table>\(lines.joined(separator: "\n"))</table>"
    }

    private static func escaped(_ text: String) -> String {
        Text.safe(text).replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
            .replacing("\"", with: "&quot;")
    }
}
