internal import ArgumentParser
internal import Backup
internal import DRPKit
internal import Foundation

struct AlarmCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "alarm", abstract: "List alarms, and end those that somebody has looked into.",
        discussion: """
            Examples:
              drp alarm list
              drp alarm end 3 --reason moved
            """,
        subcommands: [List.self, End.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the open alarms.",
            discussion: """
                Examples:
                  drp alarm list
                  drp alarm list acme --json

                Ends with 1 while one is open. It tells what the last look has found; `drp check` looks anew.
                """)

        @Argument(help: ArgumentHelp("Clients; all without any.", valueName: "client"))
        var clients: [ClientID] = []

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            let alarms = try await composition.alarms(of: try composition.clients(clients))
            try Output.answer(AlarmAnswer(alarms: alarms.map { AlarmAnswer.Row($0) }), json: common.json)
            if !alarms.isEmpty { throw ExitStatus(.alarmed) }
        }
    }

    struct End: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End an alarm that was looked into.",
            discussion: """
                Examples:
                  drp alarm end 3 --reason moved

                The reason goes into the journal. The same finding is not raised again before it has changed.
                """)

        @Argument(help: ArgumentHelp("The alarm's number.", valueName: "number"))
        var number: Int64

        @OptionGroup var why: ReasonOption

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            guard let alarm = try await composition.journal.endAlarm(number, reason: why.reason) else {
                throw UsageError("no alarm \(number) is open", advice: "See `drp alarm list`.")
            }
            try Output.answer(AlarmEndAnswer(ended: AlarmAnswer.Row(alarm), reason: why.reason), json: common.json)
        }
    }
}

struct AlarmAnswer: Answer {
    struct Row: Encodable {
        var number: Int64
        var kind: Alarm.Kind
        var client: ClientID?
        var store: StoreName?
        var since: Date
        var text: String
        var advice: String

        init(_ alarm: Alarm) {
            number = alarm.id
            (kind, client, store, since, text) = (alarm.kind, alarm.client, alarm.store, alarm.since, alarm.text)
            advice = alarm.kind.advice
        }

        var line: String {
            "ALARM \(number)  \(Alarm.place(client, store)): \(Text.safe(text)) [\(kind.rawValue), since \(Text.shortTime(since))]"
                + "\n        next: \(advice)"
        }
    }

    var alarms: [Row]

    var text: String { alarms.isEmpty ? "No alarm is open." : alarms.map(\.line).joined(separator: "\n") }
}

private struct AlarmEndAnswer: Answer {
    var ended: AlarmAnswer.Row
    var reason: String

    var text: String { "ended alarm \(ended.number): \(Text.safe(ended.text))" }
}

/// An open alarm where a command reports what is wrong.
struct AlarmError: DRPError {
    private let alarm: Alarm

    init(_ alarm: Alarm) { self.alarm = alarm }

    var code: ErrorCode { .alarmed }
    var message: String { "\(Alarm.place(alarm.client, alarm.store)): \(alarm.text)" }
    var advice: String { alarm.kind.advice }
}

extension Alarm {
    /// As `acme in vault`, or `store vault`.
    fileprivate static func place(_ client: ClientID?, _ store: StoreName?) -> String {
        switch (client, store) {
        case (let client?, let store?): "\(client) in \(store)"
        case (let client?, nil): "\(client)"
        case (nil, let store?): "store \(store)"
        case (nil, nil): "drp"
        }
    }
}

extension Alarm.Kind {
    /// What to do first.
    fileprivate var advice: String {
        switch self {
        case .vanished, .packsVanished, .replaced:
            "Find out who did it. Read with --repository-at TIME, or from another store; see docs/how-to/ransom.md."
        case .backDated: "Find out who wrote them; `drp hold set CLIENT` keeps everything meanwhile."
        case .versionsOff, .locksOff: "Switch it on again, and find out who switched it off."
        case .lifecycle: "Switch the rule off: drp alone removes what nobody needs."
        case .unlocked: "Give the policy a `lock` and a store that can; see docs/explanation/ransom.md."
        case .locksBehind: "Mend what it says; the next backup tries again."
        case .away: "Mend the store, then run `drp store sync`."
        }
    }
}

extension Composition {
    /// Open alarms of clients, and of the stores of their policies.
    func alarms(of clients: [Client]) async throws -> [Alarm] {
        let ids = Set(clients.map(\.id))
        let stores = Set(clients.flatMap { fleet.stores(of: $0) }.map(\.name))
        return try await journal.alarms().filter { alarm in
            if let client = alarm.client { return ids.contains(client) }
            return alarm.store.map { stores.contains($0) } ?? true
        }
    }
}
