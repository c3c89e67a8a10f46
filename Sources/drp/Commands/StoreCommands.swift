internal import ArgumentParser
internal import Backup
internal import DRPKit
internal import Foundation

struct StoreCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "store", abstract: "List, check, measure and level the stores.",
        discussion: """
            Examples:
              drp store list
              drp store check vault
              drp store sync acme
              drp store stats --json
            """,
        subcommands: [List.self, Check.self, Sync.self, Stats.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the stores, who uses them, and whether they answer.",
            discussion: """
                Examples:
                  drp store list
                  drp store list --json
                """)

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            var answer = StoreListAnswer()
            for settings in composition.fleet.stores {
                var failure: (any Error)?
                do { _ = try await Composition.openStore(settings).folders() } catch { failure = error }
                answer.add(settings, composition.fleet, failure)
            }
            try Output.answer(answer, json: common.json)
        }
    }

    struct Check: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Try every store, and every client's repository in it; change nothing.",
            discussion: """
                Examples:
                  drp store check
                  drp store check vault --json
                """)

        @Argument(help: ArgumentHelp("Stores; all without any.", valueName: "store"))
        var stores: [StoreName] = []

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            var answer = CheckAnswer()
            for settings in try composition.stores(stores) { await composition.check(settings, &answer) }
            try Output.answer(answer, json: common.json)
            if let code = answer.code { throw ExitStatus(code) }
        }
    }

    struct Sync: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Copy the backups that a store lacks from the others.",
            discussion: """
                Examples:
                  drp store sync
                  drp store sync acme --to vault
                  drp store sync acme --from vault --to attic --json
                  drp store sync acme --from vault --to attic --repository-at 2026-11-25T02:00:00Z

                Each object is checked before it is written and read back after. A repository that a store of the policy
                lacks altogether is made. Nothing is replaced or deleted: two different backups under one number are named, and
                stay. It may be interrupted, and goes on when it runs again.
                """)

        @Argument(help: ArgumentHelp("Clients, in order of their priority; all without any.", valueName: "client"))
        var clients: [ClientID] = []

        @Option(
            name: .long,
            help: ArgumentHelp("Copy from this store alone; any of the fleet file.", valueName: "store"))
        var from: StoreName?

        @Option(
            name: .long,
            help: ArgumentHelp("Copy to this store alone; any of the fleet file.", valueName: "store"))
        var to: StoreName?

        @OptionGroup var past: PastOption
        @OptionGroup var common: CommonOptions

        func validate() throws {
            if from != nil && from == to { throw ValidationError("--from and --to are the same store.") }
            if past.repositoryAt != nil && (from == nil || to == nil) {
                throw ValidationError("--repository-at needs --from and --to: what is copied from, and where to.")
            }
        }

        func run() async throws {
            let display = ProgressDisplay(json: common.json)
            let composition = try await common.composition(past: past)
            // Before anything is done: a name that is wrong.
            _ = try composition.stores([from, to].compactMap { $0 })
            var answer = StoreSyncAnswer()
            for client in try composition.clients(clients) {
                let done = ByteMeter()
                do {
                    let outcomes = try await composition.storeSync.run(
                        client, from: from, to: to, openSource: composition.openToRead
                    ) { store, bytes in
                        display.show("\(client.id): copying to \(store)", done: done.add(bytes), total: 0)
                    }
                    display.end()
                    answer.add(client.id, outcomes)
                } catch {
                    display.end()
                    if clients.count == 1 { throw error }
                    answer.add(client.id, nil, error)
                }
            }
            try Output.answer(answer, json: common.json)
            if let code = answer.code { throw ExitStatus(code) }
        }
    }

    struct Stats: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Count objects and bytes of each client in each store.",
            discussion: """
                Examples:
                  drp store stats
                  drp store stats acme --json
                """)

        @Argument(help: ArgumentHelp("Clients; all without any.", valueName: "client"))
        var clients: [ClientID] = []

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            var answer = StoreStatsAnswer()
            for client in try composition.clients(clients) {
                let lacking = await composition.lacking(client)
                for settings in composition.fleet.stores(of: client) {
                    do {
                        let repository = try await composition.repository(of: client, in: settings)
                        answer.stats.append(
                            StoreStatsAnswer.Row(
                                client: client.id, store: settings.name, stats: try await repository.stats(),
                                newest: try await repository.latest().map { BackupSummary($0) },
                                lacking: lacking[settings.name] ?? []))
                    } catch {
                        answer.problems.append(BackupProblem(client: client.id, store: settings.name, error))
                    }
                }
            }
            try Output.answer(answer, json: common.json)
            if let first = answer.problems.first {
                throw ExitStatus(answer.stats.isEmpty && answer.problems.count == 1 ? first.code : .partial)
            }
        }
    }
}

extension Composition {
    var storeSync: StoreSync { StoreSync(fleet: fleet, journal: journal, clock: clock, open: Self.openStore) }

    /// The stores of a command line in the order of the file; all of them for an empty list.
    func stores(_ names: [StoreName]) throws -> [StoreSettings] {
        for name in names where fleet.store(name) == nil {
            throw UsageError(
                "the fleet file has no store '\(name)'",
                advice: "Stores are: \(fleet.stores.map(\.name.text).sorted().joined(separator: ", ")).")
        }
        return names.isEmpty ? fleet.stores : fleet.stores.filter { names.contains($0.name) }
    }

    /// What each store of a client lacks that another one has, as far as they answer.
    func lacking(_ client: Client) async -> [StoreName: [Int]] {
        var held: [StoreName: Holdings] = [:]
        guard fleet.stores(of: client).count > 1 else { return [:] }
        for settings in fleet.stores(of: client) {
            // One that does not answer is named where it is asked for more.
            held[settings.name] = try? await repository(of: client, in: settings).holdings()
        }
        return Holdings.lacking(held)
    }

    /// Tries one store, and the repositories in it of the clients that use it.
    fileprivate func check(_ settings: StoreSettings, _ answer: inout CheckAnswer) async {
        let what = "store \(settings.name)"
        do {
            let count = try await Self.openStore(settings).folders().count
            answer.add(what, .ok, "it can be listed: \(count) folders")
        } catch { return answer.fail(what, error) }
        for client in fleet.clientsByPriority where fleet.stores(of: client).contains(settings) {
            do {
                let repository = try await repository(of: client, in: settings)
                let latest = try await repository.latest()
                answer.add(
                    "\(what): \(client.id)", .ok,
                    latest.map { "newest backup \($0.number), of \(Text.shortTime($0.instant))" } ?? "no backup yet")
            } catch {
                answer.fail("\(what): \(client.id)", error)
                continue
            }
            if let numbers = await lacking(client)[settings.name] {
                answer.add(
                    "\(what): \(client.id)", .warning,
                    "it lacks \(Text.numbers(numbers)), which other stores have: drp store sync \(client.id)")
            }
        }
    }
}
