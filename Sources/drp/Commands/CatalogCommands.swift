internal import ArgumentParser
internal import Backup
internal import DRPKit
internal import Foundation

struct CatalogCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "catalog", abstract: "Bring the journal's table of backups back.",
        discussion: """
            Examples:
              drp catalog rebuild acme
              drp catalog rebuild --all
            """,
        subcommands: [Rebuild.self])

    struct Rebuild: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Compare the journal's table of backups with the stores, and take over what it lacks.",
            discussion: """
                Examples:
                  drp catalog rebuild acme
                  drp catalog rebuild --all --json

                For a journal that was lost, or that is an older copy. A backup that a store holds gets its entry, once; an entry
                whose backup no store holds any more is marked, not deleted. A second time it changes nothing. The stores are
                only read. Where clients live, runs and events are in no store: make sure of `site` in the fleet file first.
                """)

        @Argument(help: ArgumentHelp("Clients, in order of their priority.", valueName: "client"))
        var clients: [ClientID] = []

        @Flag(name: .long, help: "All clients of the fleet.")
        var all = false

        @OptionGroup var common: CommonOptions

        func validate() throws {
            if clients.isEmpty != all { throw ValidationError("Name the clients, or give --all.") }
        }

        func run() async throws {
            let composition = try await common.composition()
            var answer = CatalogAnswer()
            for client in try composition.clients(clients) {
                do {
                    answer.add(client.id, try await composition.catalogRebuild.run(client))
                } catch {
                    if clients.count == 1 { throw error }
                    answer.problems.append(BackupProblem(client: client.id, store: nil, error))
                }
            }
            try Output.answer(answer, json: common.json)
            if let code = answer.code { throw ExitStatus(code) }
        }
    }
}

struct CatalogAnswer: Answer {
    struct Row: Encodable {
        var client: ClientID
        var store: StoreName
        var change: CatalogChange
    }

    var catalog: [Row] = []
    var problems: [BackupProblem] = []
    /// What was in the journal and is in no store.
    var notInStores = ["placements", "runs", "jobs", "events", "failed backups"]

    mutating func add(_ client: ClientID, _ results: [CatalogRebuild.Found]) {
        for result in results {
            switch result.outcome {
            case .success(let report):
                catalog.append(Row(client: client, store: result.store, change: report.change))
                problems += report.unreadable.sorted { $0.key < $1.key }.map {
                    BackupProblem(client: client, store: result.store, $0.value)
                }
            case .failure(let error): problems.append(BackupProblem(client: client, store: result.store, error))
            }
        }
    }

    /// nil if everything went well.
    var code: ErrorCode? {
        guard let first = problems.first else { return nil }
        return catalog.isEmpty && problems.count == 1 ? first.code : .partial
    }

    var text: String {
        let rows = catalog.map { row in
            [
                "\(row.client)", "\(row.store)", "\(row.change.known.count)", Text.numbers(row.change.adopted),
                Text.numbers(row.change.missing), Text.numbers(row.change.returned),
            ]
        }
        let table =
            rows.isEmpty
            ? []
            : [Text.table([["CLIENT", "STORE", "KNOWN", "ADOPTED", "MISSING", "RETURNED"]] + rows), ""]
        let note = """
            Placements and runs cannot come from a store: where a client lives is now what the journal still
            knows, else `site` in the fleet file. Make sure of it before the next backup or move. Jobs and events
            are not brought back either.
            """
        return (table + problems.map(\.text) + [note]).joined(separator: "\n")
    }
}
