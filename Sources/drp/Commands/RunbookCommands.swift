internal import ArgumentParser
internal import Backup
internal import DRPKit
internal import Foundation
internal import Migrate

struct RunbookCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "runbook", abstract: "List, check and print runbooks.",
        discussion: """
            Examples:
              drp runbook list
              drp runbook check migrate
              drp runbook show failover --for acme --to par-dc5
            """,
        subcommands: [List.self, Check.self, Show.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the runbooks that are found, and where.",
            discussion: """
                Examples:
                  drp runbook list
                """)

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            let schemas = try await composition.stepWorld().catalog.schemas
            var answer = RunbookListAnswer()
            for name in composition.runbooks.names() {
                do {
                    let runbook = try composition.runbooks.runbook(named: name, schemas: schemas)
                    answer.runbooks.append(
                        .init(
                            name: name, about: runbook.about, file: runbook.file, steps: runbook.steps.map(\.name),
                            sha256: runbook.sha256))
                } catch {
                    answer.problems.append(error.message)
                }
            }
            try Output.answer(answer, json: common.json)
            if !answer.problems.isEmpty { throw ExitStatus(.runbookInvalid) }
        }
    }

    struct Check: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Read runbooks and tell all that is wrong with them.",
            discussion: """
                Examples:
                  drp runbook check migrate failover
                  drp runbook check ./my-runbook.yaml
                """)

        @Argument(help: ArgumentHelp("Names, or files that end with .yaml.", valueName: "runbook"))
        var names: [String]

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            let schemas = try await composition.stepWorld().catalog.schemas
            var answer = RunbookListAnswer()
            for name in names {
                let runbook =
                    name.hasSuffix(".yaml")
                    ? try RunbookLibrary.read(path: name, schemas: schemas)
                    : try composition.runbooks.runbook(named: name, schemas: schemas)
                answer.runbooks.append(
                    .init(
                        name: runbook.name, about: runbook.about, file: runbook.file, steps: runbook.steps.map(\.name),
                        sha256: runbook.sha256))
            }
            try Output.answer(answer, json: common.json)
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print a runbook; with --for, as a person follows it by hand for that client.",
            discussion: """
                Examples:
                  drp runbook show migrate
                  drp runbook show failover --for acme --to par-dc5

                What it prints is Markdown with real values, and commands of the servers' own tools: keep it where it can be read
                on the day that drp is gone. Paths of secrets stand in it, never a secret.
                """)

        @Argument(help: ArgumentHelp("The runbook's name.", valueName: "runbook"))
        var name: String

        @Option(name: .customLong("for"), help: ArgumentHelp("The client.", valueName: "client"))
        var client: ClientID?

        @Option(name: .long, help: ArgumentHelp("The site that it would go to.", valueName: "site"))
        var to: SiteName?

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            let runbook = try composition.runbooks.runbook(
                named: name, schemas: try await composition.stepWorld().catalog.schemas)
            guard let client else {
                let bytes = FileManager.default.contents(atPath: runbook.file) ?? Data()
                try Output.answer(
                    RunbookTextAnswer(runbook: name, client: nil, markdown: String(decoding: bytes, as: UTF8.self)),
                    json: common.json)
                return
            }
            let wanted = try composition.client(client)
            if let to, composition.fleet.site(to) == nil { throw FailoverCommands.Lost.unknown(to, composition) }
            let placement = try await composition.journal.placement(of: client)
            // Before the keys are made there is no repository either.
            let keys = try? WriterKeys.read(of: client, state: composition.fleet.state)
            let manual = Manual(
                fleet: composition.fleet, client: wanted, place: placement?.site ?? wanted.site, uuid: keys?.client,
                point: try await composition.journal.restorePoints()[client],
                target: to.flatMap { composition.fleet.site($0) })
            try Output.answer(
                RunbookTextAnswer(runbook: name, client: client, markdown: manual.markdown(runbook)), json: common.json)
        }
    }
}

struct RunbookListAnswer: Answer {
    struct Row: Encodable {
        var name: String
        var about: String
        var file: String
        var steps: [String]
        var sha256: ContentHash
    }

    var runbooks: [Row] = []
    var problems: [String] = []

    var text: String {
        let rows = runbooks.map { row in
            [
                "\(row.name): \(Text.safe(row.about))", "  \(Text.safe(row.file)), SHA-256 \(row.sha256)",
                "  " + row.steps.joined(separator: ", "),
            ]
            .joined(separator: "\n")
        }
        return (rows + problems.map(Text.safe)).joined(separator: "\n")
    }
}

struct RunbookTextAnswer: Answer {
    var runbook: String
    var client: ClientID?
    var markdown: String

    var text: String { Text.safe(markdown) }
}
