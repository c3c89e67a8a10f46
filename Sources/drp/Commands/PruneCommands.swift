internal import ArgumentParser
internal import Backup
internal import DRPKit
internal import Foundation

struct PruneCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prune", abstract: "Let old backups go, by the policy's `keep`.",
        discussion: """
            Examples:
              drp prune plan acme
              drp prune run acme
            """,
        subcommands: [Plan.self, Run.self])

    struct Options: ParsableArguments {
        @Argument(help: ArgumentHelp("Clients.", valueName: "client"))
        var clients: [ClientID] = []

        @Flag(name: .long, help: "All clients of the fleet.")
        var all = false

        @Option(
            name: .long,
            help: ArgumentHelp(
                "How long marked objects wait before they are deleted, as 24h.", valueName: "duration"))
        var grace = GraceDuration()

        @OptionGroup var common: CommonOptions

        func validate() throws {
            if clients.isEmpty != all { throw ValidationError("Name the clients, or give --all.") }
        }
    }

    struct Plan: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show which backups stay, and why; changes nothing.",
            discussion: """
                Examples:
                  drp prune plan acme
                  drp prune plan --all --json
                """)

        @OptionGroup var options: Options

        func run() async throws {
            let composition = try await options.common.composition()
            var answer = PrunePlanAnswer()
            for client in try composition.clients(options.clients) {
                let outcomes = try await composition.pruneJob.plan(client, grace: options.grace.duration)
                answer.add(client.id, outcomes)
            }
            try Output.answer(answer, json: options.common.json)
            if let first = answer.problems.first {
                throw ExitStatus(answer.plans.isEmpty && answer.problems.count == 1 ? first.code : .partial)
            }
        }
    }

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Mark what nobody needs, and delete what was marked before.",
            discussion: """
                Examples:
                  drp prune run acme
                  drp prune run --all
                  drp prune run acme --grace 48h --confirm acme

                One run marks old backups and packs that nobody needs; a later one deletes them, once they have been marked for
                the grace and if still nobody needs them. Until then every backup can be restored. A plan that drops more than
                half of the backups or more than 10, and one by rules that keep less than the last time, want --confirm CLIENT.
                Without `keep` in the policy no backup is dropped.
                """)

        @OptionGroup var options: Options

        @Option(name: .long, help: ArgumentHelp("The client's name, where much would go.", valueName: "client"))
        var confirm: ClientID?

        func run() async throws {
            let composition = try await options.common.composition()
            var answer = PruneRunAnswer()
            for client in try composition.clients(options.clients) {
                do {
                    let outcomes = try await composition.pruneJob.run(
                        client, grace: options.grace.duration, isConfirmed: confirm == client.id)
                    answer.add(client.id, outcomes)
                } catch {
                    if options.clients.count == 1 { throw error }
                    answer.problems.append(BackupProblem(client: client.id, store: nil, error))
                }
            }
            try Output.answer(answer, json: options.common.json)
            if let code = answer.code { throw ExitStatus(code) }
        }
    }
}

/// `--grace`: a duration as in the fleet file, or none at all.
struct GraceDuration: ExpressibleByArgument {
    var duration = Prune.usualGrace

    init() {}

    init?(argument: String) {
        guard let duration = DurationText.parse(argument) else { return nil }
        self.duration = duration
    }

    var defaultValueDescription: String { "24h" }
}

extension Composition {
    fileprivate var pruneJob: PruneJob {
        PruneJob(fleet: fleet, journal: journal, clock: clock, open: Self.openStore)
    }
}
