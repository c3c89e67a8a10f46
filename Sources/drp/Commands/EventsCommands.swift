internal import ArgumentParser
internal import DRPKit
internal import Foundation

struct EventsCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events", abstract: "List what happened, and prove that the record was not edited.",
        discussion: """
            Examples:
              drp events list --client acme
              drp events verify
            """,
        subcommands: [List.self, Verify.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List events, oldest first.",
            discussion: """
                Examples:
                  drp events list
                  drp events list --run 20261125-093012-acme-migrate-4f2a
                  drp events list --client acme --after 1200 --limit 50 --json

                Without --after, the newest events are listed.
                """)

        @Option(name: .long, help: ArgumentHelp("Only this run's.", valueName: "run"))
        var run: RunID?

        @Option(name: .long, help: ArgumentHelp("Only this client's.", valueName: "client"))
        var client: ClientID?

        @Option(name: .long, help: ArgumentHelp("Only events with a greater number.", valueName: "n"))
        var after: Int64?

        @Option(name: .long, help: ArgumentHelp("The most to list.", valueName: "n"))
        var limit = 100

        @OptionGroup var common: CommonOptions

        func validate() throws {
            if limit < 1 { throw ValidationError("--limit takes 1 or more.") }
            if let after, after < 0 { throw ValidationError("--after takes 0 or more.") }
        }

        func run() async throws {
            let journal = try await common.composition().journal
            let events =
                if let after {
                    try await journal.events(run: run, client: client, after: after, limit: limit)
                } else {
                    try await journal.newestEvents(run: run, client: client, limit: limit)
                }
            try Output.answer(EventListAnswer(events: events), json: common.json)
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Compute the chain of the events again.",
            discussion: """
                Examples:
                  drp events verify
                  drp events verify --head 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08

                Whoever can write the file can build another whole chain. So note the head outside of this machine from time to
                time; with --head, the event with that hash must still be there, with everything before it as it was.
                """)

        @Option(
            name: .long, help: ArgumentHelp("A head noted earlier, alone or as NUMBER:HASH.", valueName: "hash"),
            transform: { text in
                guard let head = NotedHead(text) else {
                    throw ValidationError("a head is 64 hex digits, or NUMBER:HASH; not '\(text)'.")
                }
                return head
            })
        var head: NotedHead?

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let journal = try await common.composition().journal
            let answer = EventVerdictAnswer(try await journal.verifyEvents(noted: head))
            try Output.answer(answer, json: common.json)
            if let code = answer.error { throw ExitStatus(code) }
        }
    }
}

struct EventListAnswer: Answer {
    var events: [EventEntry]

    var text: String {
        guard !events.isEmpty else { return "No such events." }
        let rows = events.map { event in
            [
                "\(event.id)", Text.shortTime(event.at), event.client?.text ?? "-", Text.safe(event.kind),
                Self.about(event),
            ]
        }
        return Text.table([["EVENT", "AT", "CLIENT", "KIND", "ABOUT"]] + rows)
    }

    /// Run and step, else the start of the payload; `--json` has all of it.
    private static func about(_ event: EventEntry) -> String {
        if let run = event.run { return event.step.map { "\(run) \(Text.safe($0))" } ?? "\(run)" }
        guard case .object(let facts) = event.payload, !facts.isEmpty else { return "-" }
        // Whatever does not encode is shown by --json alone.
        let words = facts.sorted { $0.key < $1.key }.compactMap { key, value in
            (try? value.json()).map { "\(key)=\($0)" }
        }
        let text = Text.safe(words.joined(separator: " "))
        return text.count > 60 ? text.prefix(59) + "…" : text
    }
}

struct EventVerdictAnswer: Answer {
    var count: Int64
    var head: ContentHash
    var firstBroken: Int64?
    var proven: Int64?
    var problems: [String]
    /// nil if the chain is whole.
    var error: ErrorCode?

    init(_ verdict: EventVerdict) {
        count = verdict.count
        head = verdict.head
        firstBroken = verdict.firstBroken
        proven = verdict.proven
        problems = verdict.problems
        error = verdict.problems.isEmpty ? nil : .evidenceBroken
    }

    var text: String {
        var lines = ["\(error == nil ? "whole " : "BROKEN")  \(count) events", "head    \(head)"]
        if let firstBroken { lines.append("first   event \(firstBroken) is the first that is broken") }
        if let proven { lines.append("proven  event \(proven) has the noted hash: all up to it is as it was then") }
        lines += problems.map { "        \($0)" }
        if let error { lines += ["        [\(error.rawValue)]", "  next: \(error.advice)"] }
        return lines.joined(separator: "\n")
    }
}
