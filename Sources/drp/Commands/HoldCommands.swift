internal import ArgumentParser
internal import Backup
internal import DRPKit
internal import Foundation

struct HoldCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hold", abstract: "Stop every deletion of a client's backups.",
        discussion: """
            Examples:
              drp hold set acme --reason audit
              drp hold show
              drp hold release acme --confirm acme
            """,
        subcommands: [Set.self, Show.self, Release.self])

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Set a hold, or give it another reason.",
            discussion: """
                Examples:
                  drp hold set acme --reason audit

                The hold stands in the journal and in every store of the client; prune stops if either says so.
                """)

        @Argument(help: ArgumentHelp("The client.", valueName: "client"))
        var client: ClientID

        @OptionGroup var why: ReasonOption

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            let client = try composition.client(client)
            // The journal first: from then on nothing is deleted, whatever the stores answer.
            try await composition.journal.setHold(of: client.id, reason: why.reason)
            let problems = await composition.eachStore(client) {
                try await $0.setHold(reason: why.reason, at: composition.clock.now)
            }
            try await composition.answerHolds([client], problems, json: common.json)
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show which clients are held.",
            discussion: """
                Examples:
                  drp hold show
                  drp hold show acme --json
                """)

        @Argument(help: ArgumentHelp("Clients; all without any.", valueName: "client"))
        var clients: [ClientID] = []

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            try await composition.answerHolds(try composition.clients(clients), [], json: common.json)
        }
    }

    struct Release: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Release a hold: old backups may go again.",
            discussion: """
                Examples:
                  drp hold release acme --confirm acme
                """)

        @Argument(help: ArgumentHelp("The client.", valueName: "client"))
        var client: ClientID

        @Option(name: .long, help: ArgumentHelp("The client's name again.", valueName: "client"))
        var confirm: ClientID?

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            let client = try composition.client(client)
            guard confirm == client.id else {
                throw UsageError(
                    "releasing the hold of \(client.id) lets its old backups go",
                    advice: "Give the client's name: --confirm \(client.id)", code: .confirmationMissing)
            }
            let problems = await composition.eachStore(client) { try await $0.releaseHold() }
            // The journal last: it holds for as long as a store does.
            if problems.isEmpty, try await composition.journal.hold(of: client.id) != nil {
                try await composition.journal.releaseHold(of: client.id)
            }
            try await composition.answerHolds([client], problems, json: common.json)
        }
    }
}

struct HoldAnswer: Answer {
    struct Place: Encodable {
        var client: ClientID
        /// nil for the journal.
        var store: StoreName?
        var since: Date?
        var reason: String
    }

    var clients: [ClientID] = []
    var holds: [Place] = []
    var problems: [BackupProblem] = []

    var text: String {
        let rows = holds.map { hold in
            [
                "\(hold.client)", hold.store.map { "store \($0)" } ?? "journal", hold.since.map(Text.shortTime) ?? "?",
                Text.safe(hold.reason),
            ]
        }
        let free = clients.filter { id in !holds.contains { $0.client == id } }
        let table = rows.isEmpty ? [] : [Text.table([["CLIENT", "HELD IN", "SINCE", "REASON"]] + rows)]
        let others = free.isEmpty ? [] : ["not held: \(free.map(\.text).joined(separator: ", "))"]
        return (table + others + problems.map(\.text)).joined(separator: "\n")
    }
}

extension Composition {
    /// - Returns: what failed, by store.
    fileprivate func eachStore(
        _ client: Client, _ body: (Repository) async throws -> Void
    ) async -> [BackupProblem] {
        var problems: [BackupProblem] = []
        for settings in fleet.stores(of: client) {
            do { try await body(try await repository(of: client, in: settings)) } catch {
                problems.append(BackupProblem(client: client.id, store: settings.name, error))
            }
        }
        return problems
    }

    /// Answers with the holds as they are now.
    fileprivate func answerHolds(_ clients: [Client], _ problems: [BackupProblem], json: Bool) async throws {
        var answer = HoldAnswer(clients: clients.map(\.id), problems: problems)
        for client in clients {
            if let hold = try await journal.hold(of: client.id) {
                answer.holds.append(.init(client: client.id, store: nil, since: hold.at, reason: hold.reason))
            }
            for settings in fleet.stores(of: client) where !problems.contains(where: { $0.store == settings.name }) {
                do {
                    let hold = try await repository(of: client, in: settings).hold()
                    guard let hold else { continue }
                    answer.holds.append(
                        .init(client: client.id, store: settings.name, since: hold.at, reason: hold.reason))
                } catch let error as WriterKeysError where error.isMissing {
                    continue
                } catch let error as RepositoryError where error.reason == .missing {
                    continue
                } catch {
                    answer.problems.append(BackupProblem(client: client.id, store: settings.name, error))
                }
            }
        }
        try Output.answer(answer, json: json)
        if let first = answer.problems.first {
            throw ExitStatus(answer.holds.isEmpty && answer.problems.count == 1 ? first.code : .partial)
        }
    }
}
