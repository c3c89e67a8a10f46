internal import ArgumentParser
internal import DRPKit
internal import Foundation
internal import Migrate

struct RunsCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "runs", abstract: "List, show and resume runs.",
        discussion: """
            Examples:
              drp runs list
              drp runs resume 20261125-093012-acme-migrate-4f2a --identity recovery.key
            """,
        subcommands: [List.self, Show.self, Resume.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List runs, newest first.",
            discussion: """
                Examples:
                  drp runs list
                  drp runs list --client acme --json
                """)

        @Option(name: .long, help: ArgumentHelp("Only this client's.", valueName: "client"))
        var client: ClientID?

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            try Output.answer(
                RunListAnswer(runs: try await composition.journal.runs(client: client)), json: common.json)
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show one run: its steps, and what it proves.",
            discussion: """
                Examples:
                  drp runs show 20261125-093012-acme-migrate-4f2a
                """)

        @Argument(help: ArgumentHelp("The run, as `runs list` names it.", valueName: "run"))
        var run: RunID

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            let report = try await composition.engine { _ in }.report(on: run)
            var answer = RunsAnswer()
            answer.runs = [RunAnswer(report, objectives: composition.objectives(of: report.run.client))]
            try Output.answer(answer, json: common.json)
        }
    }

    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Go on with a run that waits or whose process died.",
            discussion: """
                Examples:
                  drp runs resume 20261125-093012-acme-migrate-4f2a --identity recovery.key

                Each step is observed first: what is done is not done again.
                """)

        @Argument(help: ArgumentHelp("The run, as `runs list` names it.", valueName: "run"))
        var run: RunID

        @OptionGroup var identity: IdentityOption
        @OptionGroup var common: CommonOptions

        func run() async throws {
            let display = ProgressDisplay(json: common.json)
            let composition = try await common.composition(identity: identity.identity, progress: display)
            let narrator = RunNarrator(display: display, isSilent: common.json)
            try await composition.shipping {
                let report = try await composition.engine { narrator.tell($0) }.resume(run)
                display.end()
                var answer = RunsAnswer()
                answer.runs = [RunAnswer(report, objectives: composition.objectives(of: report.run.client))]
                try Output.answer(answer, json: common.json)
                if let code = answer.code { throw ExitStatus(code) }
            }
        }
    }
}

extension RunID: ExpressibleByArgument {
    package init?(argument: String) { self.init(argument) }
}

extension Composition {
    /// A client that has left the fleet file was promised nothing that is known any more.
    fileprivate func objectives(of client: ClientID) -> Objectives {
        fleet.client(client).map { fleet.objectives(of: $0) } ?? Objectives()
    }
}
